//! Who may do what where.
//!
//! Without Kubernetes a user has one of three roles in a namespace. In Kubernetes the cluster's RBAC decides: the caller's
//! own token asks the API server, or occm asks it about the caller.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::caller::Caller;
use crate::api::local::Local;
use crate::api::problem::{Answer, Fault};
use crate::model::object::{Kind, ObjectKey};

/// What somebody may do in a namespace, in steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Role {
    /// See Issuers, Certificates and what happened to them.
    View,
    /// Also change Certificates and ask for renewals.
    Edit,
    /// Also change Issuers and write their Secrets and ConfigMaps.
    Admin,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verb {
    Get,
    List,
    Create,
    Update,
    Patch,
    Delete,
}

impl Verb {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
        }
    }

    fn reads(self) -> bool {
        matches!(self, Self::Get | Self::List)
    }
}

/// To what it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Resource {
    Certificates,
    Issuers,
    Events,
    Secrets,
    ConfigMaps,
    /// The log level of a replica; a resource that exists in roles only.
    LogLevels,
}

impl Resource {
    pub(crate) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Issuer => Self::Issuers,
            Kind::Certificate => Self::Certificates,
        }
    }

    /// API group and plural.
    pub(crate) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Certificates => ("occm.dev", "certificates"),
            Self::Issuers => ("occm.dev", "issuers"),
            Self::Events => ("", "events"),
            Self::Secrets => ("", "secrets"),
            Self::ConfigMaps => ("", "configmaps"),
            Self::LogLevels => ("occm.dev", "loglevels"),
        }
    }

    /// The least role that may do this.
    fn least(self, verb: Verb) -> Role {
        match self {
            Self::Certificates | Self::Issuers | Self::Events if verb.reads() => Role::View,
            Self::Certificates => Role::Edit,
            Self::Events | Self::Issuers | Self::Secrets | Self::ConfigMaps | Self::LogLevels => Role::Admin,
        }
    }
}

/// Who decides.
pub(crate) enum Authority {
    /// Users of this process.
    Local(Local),
    /// The cluster.
    #[cfg(feature = "kube")]
    Cluster(crate::api::cluster::Cluster),
}

impl Api {
    /// Whether a caller may do something in a namespace.
    pub(crate) async fn may(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        namespace: &str,
    ) -> Answer<bool> {
        match &self.authority {
            Authority::Local(local) => {
                let role = local.role(&caller.user, namespace);
                Ok(role.is_some_and(|role| role >= resource.least(verb)))
            }
            #[cfg(feature = "kube")]
            Authority::Cluster(_) if !self.about.namespaces.iter().any(|one| one == namespace) => Ok(false),
            #[cfg(feature = "kube")]
            Authority::Cluster(cluster) => cluster.may(caller, verb, resource, namespace).await,
        }
    }

    /// Refuses what a caller may not do. The refusal does not depend on whether the object exists.
    pub(crate) async fn allow(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
        key: &ObjectKey,
    ) -> Answer<()> {
        if self.may(caller, verb, resource, &key.namespace).await? {
            return Ok(());
        }
        let plural = resource.names().1;
        Err(Fault::forbidden(format_args!(
            "{} {plural} in namespace {}",
            verb.as_str(),
            key.namespace
        )))
    }

    /// The namespaces in which a caller may do something, of those that are managed or hold objects.
    pub(crate) async fn namespaces_where(
        &self,
        caller: &Caller,
        verb: Verb,
        resource: Resource,
    ) -> Answer<Vec<String>> {
        let all = self.namespaces();
        let asked = all
            .iter()
            .map(|namespace| self.may(caller, verb, resource, namespace));
        let answers = futures::future::try_join_all(asked).await?;
        let allowed = all.into_iter().zip(answers).filter(|(_, may)| *may);
        Ok(allowed.map(|(namespace, _)| namespace).collect())
    }

    /// Role of a caller in each namespace, for people: what may be done is decided by each action.
    pub(crate) async fn roles(&self, caller: &Caller) -> Answer<BTreeMap<String, Role>> {
        let mut roles = BTreeMap::new();
        for namespace in self.namespaces() {
            let may = async |verb, resource| self.may(caller, verb, resource, &namespace).await;
            let role = if may(Verb::Update, Resource::Issuers).await? {
                Role::Admin
            } else if may(Verb::Update, Resource::Certificates).await? {
                Role::Edit
            } else if may(Verb::List, Resource::Certificates).await? {
                Role::View
            } else {
                continue;
            };
            roles.insert(namespace, role);
        }
        Ok(roles)
    }

    /// The namespaces there are.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        if self.about.namespaces.is_empty() {
            return self.view.namespaces(&self.about.home);
        }
        self.about.namespaces.clone()
    }
}
