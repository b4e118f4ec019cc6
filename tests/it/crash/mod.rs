//! What survives: an operator that dies before or after any of its effects leaves nothing that its successor does not put right.

mod explore;
mod fuse;
mod interleavings;
mod operator;
mod state;
mod stories;

use std::sync::OnceLock;
use std::sync::mpsc;

use kube::Client;
use rstest::rstest;
use usher_sandbox::controlplane::{self, ControlPlane, Options};
use usher_sandbox::vendors::Vendor;

/// A control plane without an operator; each run brings its own.
fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let (made, making) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let plane = ControlPlane::start(Options::default()).await.unwrap();
                let admin = plane.client().unwrap();
                controlplane::apply(&admin, &controlplane::crds().unwrap()).await.unwrap();
                made.send(plane).ok().unwrap();
                std::future::pending::<()>().await;
            });
        });
        making.recv().expect("the control plane starts")
    })
}

/// The administrator's client for one test, shared by all its runs.
fn client() -> Client {
    crate::leaks::watch_logs();
    plane().client().unwrap()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_operator_dies_the_next_one_ends_where_it_would_have(
    #[values(Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy, Vendor::Industrility, Vendor::Ozmap)] vendor: Vendor,
) {
    explore::every_story(vendor).await;
}
