//! The console's pages: inside of an optimised program, read from the source tree by one for development. Without
//! them a plain page says so.

use std::borrow::Cow;

/// What a browser gets from a program without the console.
const WITHOUT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>occm</title>\
     <h1>occm</h1><p>This program was built without the web console. The REST API is at <a \
     href=\"/api/v1/openapi.json\">/api/v1</a>.</p></html>";

/// What a browser may do with our pages: nothing but what comes from here.
pub(crate) const SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// The page that every address of the console begins with.
const INDEX: &str = "index.html";

/// Below this folder a name changes with its content.
const FOREVER: &str = "assets/";

/// A file.
pub(crate) struct Asset {
    pub(crate) body: Cow<'static, [u8]>,
    pub(crate) content_type: &'static str,
    pub(crate) cache_control: &'static str,
    pub(crate) gzip: bool,
}

/// The file at a path; what is no file is an address of the console itself.
pub(crate) fn find(path: &str, accepts_gzip: bool) -> Asset {
    let name = path.trim_start_matches('/');
    file(name, accepts_gzip)
        .or_else(|| file(INDEX, accepts_gzip))
        .unwrap_or(Asset {
            body: Cow::Borrowed(WITHOUT.as_bytes()),
            content_type: "text/html; charset=utf-8",
            cache_control: "no-store",
            gzip: false,
        })
}

fn file(name: &str, accepts_gzip: bool) -> Option<Asset> {
    let content_type = content_type(name)?;
    let cache_control = if name.starts_with(FOREVER) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let packed = if accepts_gzip {
        pages::read(&format!("{name}.gz"))
    } else {
        None
    };
    let gzip = packed.is_some();
    let body = packed.or_else(|| pages::read(name))?;
    Some(Asset {
        body,
        content_type,
        cache_control,
        gzip,
    })
}

/// The kinds of files that the console has; nothing else is served.
fn content_type(name: &str) -> Option<&'static str> {
    let (_, extension) = name.rsplit_once('.')?;
    Some(match extension {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        _ => return None,
    })
}

#[cfg(all(feature = "console", not(debug_assertions)))]
mod pages {
    use std::borrow::Cow;

    /// Name and content, sorted by name.
    static PAGES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

    pub(super) fn read(name: &str) -> Option<Cow<'static, [u8]>> {
        let (_, body) = PAGES.iter().find(|(known, _)| *known == name)?;
        Some(Cow::Borrowed(body))
    }
}

#[cfg(all(feature = "console", debug_assertions))]
mod pages {
    use std::borrow::Cow;
    use std::path::{Component, Path};

    const DIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../console/dist");

    pub(super) fn read(name: &str) -> Option<Cow<'static, [u8]>> {
        let path = Path::new(name);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            return None;
        }
        std::fs::read(Path::new(DIST).join(path)).ok().map(Cow::Owned)
    }
}

#[cfg(not(feature = "console"))]
mod pages {
    use std::borrow::Cow;

    pub(super) fn read(_: &str) -> Option<Cow<'static, [u8]>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_console_is_answered_with_a_page_that_is_not_kept() {
        let asset = find("/certificates/default/web-tls", false);
        assert_eq!(asset.content_type, "text/html; charset=utf-8");
        assert_ne!(asset.cache_control, "public, max-age=31536000, immutable");
        assert!(!asset.gzip);
    }

    #[test]
    fn nothing_outside_of_the_pages_is_served() {
        for path in [
            "/../package.json",
            "/../src/main.tsx",
            "/..%2fpackage.json",
            "//etc/passwd",
            "/.gitignore",
        ] {
            assert_eq!(
                find(path, false).content_type,
                "text/html; charset=utf-8",
                "{path}"
            );
        }
        assert!(pages::read("../package.json").is_none());
        assert!(pages::read("/etc/passwd").is_none());
    }

    #[test]
    fn the_policy_allows_nothing_unsafe() {
        assert!(!SECURITY_POLICY.contains("unsafe"));
        assert!(!SECURITY_POLICY.contains("http"));
    }
}
