//! An automated certificate manager for Kubernetes and hosts that speaks CMP
