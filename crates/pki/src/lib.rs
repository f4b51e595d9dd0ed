//! Keys, names, certificate templates, certificates and chains: the one place that handles private keys
