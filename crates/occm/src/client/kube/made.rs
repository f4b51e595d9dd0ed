//! A Secret of occm's own that is made once, by whoever comes first.

use http::Method;

use crate::client::input::describe;
use crate::client::kube::{KubeObjects, input_body, success};
use crate::client::{ClientResult, InputValues, Run};
use crate::model::object::ObjectKey;
use crate::model::plan::{InputKind, InputRef};
use crate::store::kube::door::{Body, core_path};

impl KubeObjects {
    /// Makes a Secret; [`crate::client::ClientError::Exists`] if there is one, which stays as it is.
    pub(crate) async fn make_secret(&self, key: &ObjectKey, values: &InputValues) -> ClientResult<()> {
        let input = InputRef {
            kind: InputKind::Secret,
            object: key.clone(),
        };
        let what = describe(&input);
        let body = input_body(&input, values, None)?;
        let all = core_path("secrets", Some(&key.namespace));
        let url = format!("{all}{}", self.write_query(Run::Real));
        let made = self.door.send(&what, Method::POST, &url, Body::Raw(body)).await?;
        success(&what, made).map(drop)
    }
}
