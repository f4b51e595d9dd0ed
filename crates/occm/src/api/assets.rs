//! Pages for browsers.

use std::borrow::Cow;

/// What a browser gets from a program without the console.
const WITHOUT: &str = "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>occm</title>\
     <h1>occm</h1><p>This program was built without the web console. The REST API is at <a \
     href=\"/api/v1/openapi.json\">/api/v1</a>.</p></html>";

/// What a browser may do with our pages: nothing but what comes from here.
pub(crate) const SECURITY_POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// A file.
pub(crate) struct Asset {
    pub(crate) body: Cow<'static, [u8]>,
    pub(crate) content_type: &'static str,
    pub(crate) cache_control: &'static str,
    pub(crate) gzip: bool,
}

/// The file at a path.
pub(crate) fn find(_path: &str, _accepts_gzip: bool) -> Asset {
    Asset {
        body: Cow::Borrowed(WITHOUT.as_bytes()),
        content_type: "text/html; charset=utf-8",
        cache_control: "no-store",
        gzip: false,
    }
}
