//! What can go wrong with a call, as the matrix strikes with it; it does not know what is expected then.

use std::time::Duration;

use usher_sandbox::vendors::{Fault, FaultKind};

/// One column of the matrix.
#[derive(Clone, Debug)]
pub struct Strike {
    /// For messages.
    pub name: &'static str,
    /// Whether it strikes one call only.
    pub once: bool,
    /// What goes wrong.
    pub kind: FaultKind,
}

impl Strike {
    /// The fault to switch on.
    pub fn on(&self, operation: &str) -> Fault {
        if self.once { Fault::once(operation, self.kind.clone()) } else { Fault::always(operation, self.kind.clone()) }
    }
}

/// Whatever can happen to `operation`; `elsewhere` is another host.
pub fn strikes(operation: &str, elsewhere: &str) -> Vec<Strike> {
    let status = |status| FaultKind::Status(status, None);
    let always = |name, kind| Strike { name, once: false, kind };
    let mut all = vec![
        Strike { name: "401 once", once: true, kind: status(401) },
        always("401", status(401)),
        always("403", status(403)),
        always("404", status(404)),
        always("409", status(409)),
        always("422", status(422)),
        always("429", FaultKind::RateLimited(None)),
        always("429 with a time", FaultKind::RateLimited(Some(Duration::from_secs(1)))),
        always("500", status(500)),
        always("lost before", FaultKind::LostBeforeCommit),
        always("lost after", FaultKind::LostAfterCommit),
        always("hang", FaultKind::Hang),
        always("slow drip", FaultKind::SlowDrip),
        always("web page", FaultKind::Html),
        always("truncated", FaultKind::TruncatedJson),
        always("wrong types", FaultKind::WrongTypes),
        always("huge body", FaultKind::HugeBody),
        always("redirect", FaultKind::Redirect(elsewhere.to_owned())),
    ];
    if operation.ends_with("list") || operation.ends_with("find") {
        all.extend([
            always("short list", FaultKind::ShortList),
            always("empty list", FaultKind::EmptyList),
            always("repeated page", FaultKind::RepeatedPage),
        ]);
    }
    all
}
