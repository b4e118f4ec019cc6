//! What survives: an operator that dies before or after any of its effects leaves nothing that its successor does not put right.

mod explore;
mod fuse;
mod interleavings;
mod logins;
mod operator;
mod run;
mod stage;
mod state;
mod steps;
mod stories;
mod unseen;

use std::sync::OnceLock;
use std::sync::mpsc;

use kube::Client;
use rstest::rstest;
use rstest_reuse::apply;
use usher_sandbox::controlplane::ControlPlane;
use usher_sandbox::vendors::Vendor;

use crate::vendors::every_vendor;
use crate::world::own_plane;

/// A control plane without an operator; each run brings its own.
struct Plane {
    plane: ControlPlane,
    /// The operators' token, with deploy/'s permissions.
    token: String,
}

/// The clients of one test, shared by all its runs.
#[derive(Clone)]
struct Clients {
    /// The administrator's: people's.
    admin: Client,
    /// The operators'.
    operators: Client,
}

fn plane() -> &'static Plane {
    static PLANE: OnceLock<Plane> = OnceLock::new();
    PLANE.get_or_init(|| {
        let (made, making) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                made.send(make().await).ok().unwrap();
                std::future::pending::<()>().await;
            });
        });
        making.recv().expect("the control plane starts")
    })
}

async fn make() -> Plane {
    let plane = own_plane().await;
    let token = plane.service_account_token("usher-system", "usher").await.unwrap();
    Plane { plane, token }
}

fn clients() -> Clients {
    crate::leaks::watch_logs();
    let Plane { plane, token } = plane();
    let operators = Client::try_from(plane.config(token).unwrap()).unwrap();
    Clients { admin: plane.client().unwrap(), operators }
}

#[apply(every_vendor)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_operator_dies_the_next_one_ends_where_it_would_have(vendor: Vendor) {
    explore::every_story(vendor).await;
}
