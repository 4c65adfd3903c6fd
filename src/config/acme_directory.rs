//! The kind of the directory of an authority.

use serde_yaml::Value as Yaml;

use crate::config::addresses::Url;
use crate::config::document::Node;
use crate::config::kinds::{Kind, Scope, Secrets};

/// `server.acme.directory`.
pub struct AcmeDirectory;

impl Kind<String> for AcmeDirectory {
    fn read(&self, node: &Node, scope: &mut Scope<'_>) -> Option<String> {
        let url = Url::Page.read(node, scope)?;
        if !url.starts_with("https://") {
            scope.wrong(node, "expected a URL with https://, which ACME demands (RFC 8555, 6.1)");
            return None;
        }
        Some(url)
    }

    fn show(&self, value: &String, secrets: Secrets) -> Option<Yaml> {
        Url::Page.show(value, secrets)
    }
}
