//! What can go wrong with a call, as the matrix strikes with it; it does not know what is expected then.

use std::time::Duration;

use usher_sandbox::vendors::{Fault, FaultKind, Simulator};

/// One column of the matrix.
#[derive(Clone, Debug)]
pub struct Strike {
    /// For messages.
    pub name: &'static str,
    /// What goes wrong.
    pub blow: Blow,
}

/// What goes wrong with an operation, and how often.
#[derive(Clone, Debug)]
pub enum Blow {
    /// One call of it.
    Once(FaultKind),
    /// Every call of it.
    Always(FaultKind),
    /// No call comes about, of this or any operation: the port refuses connections.
    Refused,
}

impl Strike {
    /// Begins to strike.
    pub async fn begin(&self, vendor: &Simulator, operation: &str) {
        match &self.blow {
            Blow::Once(kind) => vendor.fault(Fault::once(operation, kind.clone())),
            Blow::Always(kind) => vendor.fault(Fault::always(operation, kind.clone())),
            Blow::Refused => vendor.shut_port().await,
        }
    }

    /// Ends whatever goes wrong.
    pub async fn end(&self, vendor: &Simulator) {
        vendor.heal();
        vendor.open_port().await;
    }

    /// Whether calls reach the vendor.
    pub fn lets_calls_through(&self) -> bool {
        !matches!(self.blow, Blow::Refused)
    }
}

/// Whatever can happen to `operation`; `elsewhere` is another host.
pub fn strikes(operation: &str, elsewhere: &str) -> Vec<Strike> {
    let status = |status| FaultKind::Status(status, None);
    let always = |name, kind| Strike { name, blow: Blow::Always(kind) };
    let mut all = vec![
        Strike { name: "401 once", blow: Blow::Once(status(401)) },
        always("401", status(401)),
        always("403", status(403)),
        always("404", status(404)),
        always("409", status(409)),
        always("422", status(422)),
        always("429", FaultKind::RateLimited(None)),
        always("429 with a time", FaultKind::RateLimited(Some(Duration::from_secs(1)))),
        always("500", status(500)),
        Strike { name: "refused", blow: Blow::Refused },
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
