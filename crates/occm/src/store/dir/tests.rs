//! The directory store passes the suite, and keeps its promises about files.

mod bad_input;
mod crash;
mod edits;
mod speed;
mod support;

use std::sync::Arc;

use crate::store::dir::tests::support::{Host, Person};
use crate::store::suite::{self, Bench};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_store_passes_the_suite() {
    suite::run(|| async {
        let host = Host::new();
        let store = Arc::new(host.open());
        let world = Arc::new(Person::new(&host));
        Bench {
            store,
            world,
            _keep: Box::new(host),
        }
    })
    .await;
}
