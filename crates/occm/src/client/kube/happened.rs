//! What happened to all objects of a namespace: the Events of both kinds.

use futures::stream::{BoxStream, StreamExt};
use http::Method;
use serde::Deserialize;
use serde_json::Value;

use crate::client::kube::refusal::answer;
use crate::client::kube::{CoreEvent, KubeObjects, PageMetadata, namespace_of};
use crate::client::{ClientResult, Happened, HappenedList, Happening, Scope};
use crate::model::object::{API_VERSION, Kind, ObjectKey};
use crate::store::StoreError;
use crate::store::kube::door::{Body, FollowedNew, core_path, part};

/// Events on one page of a list.
const PAGE: usize = 500;
/// Pages of Events of one kind that are looked through.
const MAX_PAGES: usize = 10;

impl KubeObjects {
    /// Events of both kinds in a scope. The API server keeps them sorted by name, so all of them are looked through, up
    /// to a bound.
    pub(super) async fn all_events(&self, scope: &Scope) -> ClientResult<HappenedList> {
        let what = "Events";
        let mut items = Vec::new();
        for kind in [Kind::Issuer, Kind::Certificate] {
            let selector = part(&format!("involvedObject.kind={kind}"));
            let path = core_path("events", namespace_of(scope));
            let mut next = String::new();
            for _ in 0..MAX_PAGES {
                let url = format!(
                    "{path}?limit={PAGE}&fieldSelector={selector}&continue={}",
                    part(&next)
                );
                let reply = self.door.send(what, Method::GET, &url, Body::Empty).await?;
                let page: AboutPage = answer(what, &reply)?;
                items.extend(page.items.into_iter().filter_map(|event| event.happened(kind)));
                next = page.metadata.next.unwrap_or_default();
                if next.is_empty() {
                    break;
                }
            }
        }
        items.sort_by_key(|happened| std::cmp::Reverse(happened.event.time));
        let reaches_back_to = items.last().map(|happened| happened.event.time);
        Ok(HappenedList {
            items,
            reaches_back_to,
        })
    }

    /// Events of both kinds in a scope as they come. Who may list Events but not watch them is told none.
    pub(super) fn new_events(&self, scope: &Scope) -> BoxStream<'static, Happening> {
        let fields = format!("involvedObject.apiVersion={API_VERSION}");
        let watch = self
            .door
            .follow_new(core_path("events", namespace_of(scope)), fields);
        futures::stream::unfold(watch, |mut watch| async move {
            loop {
                match watch.recv().await? {
                    FollowedNew::Now(value) => {
                        if let Some(happening) = told(value) {
                            return Some((happening, watch));
                        }
                    }
                    FollowedNew::Began => return Some((Happening::Began, watch)),
                    FollowedNew::Missed => return Some((Happening::Missed, watch)),
                    FollowedNew::Failed(StoreError::Forbidden(..)) => return None,
                    FollowedNew::Failed(_) => {}
                }
            }
        })
        .boxed()
    }
}

/// An Event as a watch tells it.
fn told(value: Value) -> Option<Happening> {
    let about: AboutEvent = serde_json::from_value(value).ok()?;
    let kind = match about.involved_object.kind.as_str() {
        "Issuer" => Kind::Issuer,
        "Certificate" => Kind::Certificate,
        _ => return None,
    };
    about.happened(kind).map(Happening::Now)
}

/// An Event with the object that it is about.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AboutEvent {
    #[serde(default)]
    involved_object: About,
    #[serde(flatten)]
    event: CoreEvent,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct About {
    api_version: String,
    kind: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct AboutPage {
    #[serde(default)]
    metadata: PageMetadata,
    #[serde(default)]
    items: Vec<AboutEvent>,
}

impl AboutEvent {
    /// Of an object of ours; other groups have kinds of the same name.
    fn happened(self, kind: Kind) -> Option<Happened> {
        if self.involved_object.api_version != API_VERSION {
            return None;
        }
        let key = ObjectKey::new(self.involved_object.namespace, self.involved_object.name);
        let event = self.event.told()?;
        Some(Happened { kind, key, event })
    }
}
