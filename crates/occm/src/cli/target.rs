//! Whose objects a client command is about: a directory's or a Kubernetes cluster's.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use crate::client::dir::DirObjects;
#[cfg(feature = "kube")]
use crate::client::kube::KubeObjects;
use crate::client::{ClientError, Objects, Scope};
use crate::model::object::{DEFAULT_NAMESPACE, ObjectKey};

/// Where the objects are.
///
/// With --store the directory of a standalone manager. Without it a Kubernetes cluster, by kubeconfig, with the rights of its user.
#[derive(Args, Clone, Debug)]
pub(crate) struct TargetArgs {
    /// Directory of a standalone manager, instead of a Kubernetes cluster
    #[arg(long, env = "OCCM_STORE", value_name = "DIR")]
    store: Option<PathBuf>,
    /// kubeconfig file. Default: KUBECONFIG, else ~/.kube/config, else the ServiceAccount of the Pod
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig. Default: its current one
    #[arg(long, value_name = "NAME", conflicts_with = "store")]
    context: Option<String>,
    /// REST API of a running occm instead of --store and kubeconfig. Needs a token:
    /// --token-file, or the environment variable OCCM_TOKEN
    #[cfg(feature = "api")]
    #[arg(long, env = "OCCM_SERVER", value_name = "URL", conflicts_with_all = ["store", "kubeconfig", "context"])]
    server: Option<String>,
    /// File with the token for --server
    #[cfg(feature = "api")]
    #[arg(long, value_name = "FILE", requires = "server")]
    token_file: Option<PathBuf>,
    /// CA certificates of the server of --server. Default: the operating system's
    #[cfg(feature = "api")]
    #[arg(long, env = "OCCM_SERVER_CA", value_name = "FILE", requires = "server")]
    server_ca: Option<PathBuf>,
    /// Namespace. Default: that of the context; `default` with --store and --server
    #[arg(long, short, env = "OCCM_NAMESPACE", value_name = "NAME")]
    namespace: Option<String>,
}

/// What the arguments say.
enum Target {
    Directory(PathBuf),
    #[cfg(feature = "kube")]
    Cluster(Box<kube::Config>),
}

/// Objects to work with.
pub(crate) struct Opened {
    pub(crate) objects: Box<dyn Objects>,
    /// The namespace that is meant where none is named.
    pub(crate) namespace: String,
}

impl Opened {
    /// A name, or `NAMESPACE/NAME`.
    pub(crate) fn key(&self, text: &str) -> ObjectKey {
        match text.split_once('/') {
            Some((namespace, name)) => ObjectKey::new(namespace, name),
            None => ObjectKey::new(&self.namespace, text),
        }
    }

    /// The namespace that is meant, or all.
    pub(crate) fn scope(&self, all: bool) -> Scope {
        if all {
            Scope::All
        } else {
            Scope::Namespace(self.namespace.clone())
        }
    }
}

impl TargetArgs {
    /// The namespace that was named.
    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Opens what the arguments say. Nothing is sent yet.
    pub(crate) async fn open(&self) -> anyhow::Result<Opened> {
        #[cfg(feature = "api")]
        if let Some(server) = &self.server {
            return self.remote(server);
        }
        match self.target().await? {
            Target::Directory(dir) => {
                let objects = DirObjects::open(&dir).with_context(|| format!("--store {}", dir.display()))?;
                let namespace = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
                Ok(Opened {
                    objects: Box::new(objects.at_home(namespace)),
                    namespace: namespace.to_owned(),
                })
            }
            #[cfg(feature = "kube")]
            Target::Cluster(config) => {
                let objects = KubeObjects::new(&config).context("kubeconfig")?;
                let namespace = self.namespace.clone().unwrap_or(config.default_namespace);
                Ok(Opened {
                    objects: Box::new(objects.managed_as("occm-cli")),
                    namespace,
                })
            }
        }
    }

    #[cfg(feature = "api")]
    fn remote(&self, server: &str) -> anyhow::Result<Opened> {
        let token = match &self.token_file {
            Some(file) => std::fs::read_to_string(file).with_context(|| format!("--token-file {}", file.display()))?,
            None => std::env::var("OCCM_TOKEN").ok().context(
                "--server: there is no token; allowed: --token-file FILE, or the environment variable OCCM_TOKEN",
            )?,
        };
        let objects = crate::client::remote::RemoteObjects::new(server, &token, self.server_ca.as_deref())?;
        Ok(Opened {
            objects: Box::new(objects),
            namespace: self
                .namespace
                .clone()
                .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
        })
    }

    async fn target(&self) -> anyhow::Result<Target> {
        match &self.store {
            Some(dir) => Ok(Target::Directory(dir.clone())),
            None => self.cluster().await,
        }
    }

    #[cfg(feature = "kube")]
    async fn cluster(&self) -> anyhow::Result<Target> {
        use kube::config::{KubeConfigOptions, Kubeconfig};
        let options = KubeConfigOptions {
            context: self.context.clone(),
            ..KubeConfigOptions::default()
        };
        let config = match &self.kubeconfig {
            Some(file) => {
                let shown = format!("--kubeconfig {}", file.display());
                let read = Kubeconfig::read_from(file).with_context(|| shown.clone())?;
                kube::Config::from_custom_kubeconfig(read, &options).await.context(shown)?
            }
            None if self.context.is_some() => kube::Config::from_kubeconfig(&options).await.context("kubeconfig")?,
            None => kube::Config::infer().await.context(
                "no cluster is configured; allowed: --store DIR (or OCCM_STORE) for a directory, or a kubeconfig \
                 (--kubeconfig, KUBECONFIG, ~/.kube/config)",
            )?,
        };
        Ok(Target::Cluster(Box::new(config)))
    }

    #[cfg(not(feature = "kube"))]
    async fn cluster(&self) -> anyhow::Result<Target> {
        anyhow::bail!(
            "--store is missing, and this program was built without Kubernetes; allowed: the directory of a standalone manager, \
             also by the environment variable OCCM_STORE"
        )
    }
}

/// What a person can do about an error that is not theirs to read.
pub(crate) fn advised(error: ClientError) -> anyhow::Error {
    let advice = match &error {
        ClientError::Unauthenticated(_) => "log in again, or choose another --context",
        ClientError::Forbidden(what, _) if what.ends_with("in all namespaces") => {
            "without -A only one namespace is asked for (-n NAME)"
        }
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}\n{advice}")
}
