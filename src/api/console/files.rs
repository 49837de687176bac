//! The pages' files, all inside the program: noVNC as the build found it, xterm.js, and what is our own.

use actix_web::HttpResponse;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::LazyLock;

mod novnc {
    include!(concat!(env!("OUT_DIR"), "/novnc.rs"));
}

/// The terminal.
pub const SERIAL_PAGE: &str = "/serial.html";
/// noVNC's page as Nova names it: the one that connects by itself.
const AUTO_PAGE: &str = "/vnc_auto.html";

const OWN: &[(&str, &[u8])] = &[
    (SERIAL_PAGE, include_bytes!("assets/serial.html")),
    ("/console/auto.js", include_bytes!("assets/auto.js")),
    ("/console/serial.css", include_bytes!("assets/serial.css")),
    ("/console/serial.js", include_bytes!("assets/serial.js")),
    ("/console/xterm/LICENSE", include_bytes!("assets/xterm/LICENSE")),
    ("/console/xterm/xterm.css", include_bytes!("assets/xterm/xterm.css")),
    ("/console/xterm/xterm.js", include_bytes!("assets/xterm/xterm.js")),
];

/// The terminal needs nothing from elsewhere; it makes its own style elements.
const TERMINAL_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                               img-src 'self' data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'";

/// One file.
pub struct File {
    path: &'static str,
    content: Cow<'static, [u8]>,
}

/// The file at a path of a URL.
pub fn find(path: &str) -> Option<&'static File> {
    static FILES: LazyLock<HashMap<Cow<'static, str>, File>> = LazyLock::new(|| {
        let mut files = HashMap::new();
        for &(path, content) in novnc::FILES {
            files.insert(Cow::Owned(format!("/{path}")), File { path, content: Cow::Borrowed(content) });
            if path == "vnc.html" {
                let content = Cow::Owned(connecting(content));
                files.insert(Cow::Borrowed(AUTO_PAGE), File { path: AUTO_PAGE, content });
            }
        }
        for &(path, content) in OWN {
            files.insert(Cow::Borrowed(path), File { path, content: Cow::Borrowed(content) });
        }
        files
    });
    FILES.get(path)
}

/// noVNC's page with the script before its own that makes it connect by itself.
fn connecting(page: &[u8]) -> Vec<u8> {
    const FIRST_SCRIPT: &str = "<script src=\"app/error-handler.js\"></script>";
    let page = String::from_utf8_lossy(page);
    page.replacen(FIRST_SCRIPT, &format!("<script src=\"console/auto.js\"></script>\n    {FIRST_SCRIPT}"), 1)
        .into_bytes()
}

fn extension(path: &str) -> Option<&str> {
    path.rsplit_once('.').map(|(_, ending)| ending)
}

impl File {
    fn media_type(&self) -> &'static str {
        match extension(self.path) {
            Some("html") => "text/html; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("json") => "application/json",
            Some("svg") => "image/svg+xml",
            Some("png") => "image/png",
            Some("woff") => "font/woff",
            Some("ttf") => "font/ttf",
            Some("mp3") => "audio/mpeg",
            Some("oga") => "audio/ogg",
            _ => "text/plain; charset=utf-8",
        }
    }

    pub fn response(&self) -> HttpResponse {
        let is_page = extension(self.path) == Some("html");
        let mut response = HttpResponse::Ok();
        response
            .content_type(self.media_type())
            .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
            // A page's URL has a token in it, which is nobody else's business.
            .insert_header((REFERRER_POLICY, "no-referrer"))
            .insert_header((CACHE_CONTROL, if is_page { "no-store" } else { "max-age=3600" }));
        if self.path == SERIAL_PAGE {
            response.insert_header((CONTENT_SECURITY_POLICY, TERMINAL_POLICY));
        }
        match &self.content {
            Cow::Borrowed(content) => response.body(*content),
            Cow::Owned(content) => response.body(content.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_there_with_what_they_load() {
        let text = |path: &str| String::from_utf8(find(path).unwrap().content.to_vec()).unwrap();
        let auto = text(AUTO_PAGE);
        assert!(auto.contains("console/auto.js") && auto.contains("noVNC"));
        assert!(!text("/vnc.html").contains("console/auto.js"));
        for page in [AUTO_PAGE, SERIAL_PAGE] {
            for part in text(page)
                .split(['"', '\''])
                .filter(|part| !part.contains(' ') && matches!(extension(part), Some("js" | "css")))
            {
                assert!(find(&format!("/{part}")).is_some(), "{page} wants {part}");
            }
        }
        assert!(text("/core/rfb.js").contains("RFB"));
        assert!(find("/../etc/passwd").is_none() && find("/").is_none());
        assert_eq!(find("/core/rfb.js").unwrap().media_type(), "text/javascript; charset=utf-8");
    }
}
