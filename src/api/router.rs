//! A table of routes, matched by path, method and microversion. Every route names its policy rule: one without does
//! not compile.

use super::call::{Call, Outcome};
use crate::core::policy::Rule;
use actix_web::http::Method;
use futures_util::future::LocalBoxFuture;

pub type Handler = fn(Call) -> LocalBoxFuture<'static, Outcome>;

/// The first and the last microversion (minor part) at which a route exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window(pub u16, pub u16);

/// At every version.
pub const ALWAYS: Window = Window(0, u16::MAX);

impl Window {
    pub fn holds(self, minor: u16) -> bool {
        (self.0..=self.1).contains(&minor)
    }
}

/// One operation.
pub struct Route {
    pub method: Method,
    /// With `{name}` for a variable segment and without a slash at the end.
    pub path: &'static str,
    pub window: Window,
    pub rule: Rule,
    pub handler: Handler,
}

/// Makes a [`Route`]: `route!(GET "/servers/{id}", ALWAYS, Rule::Reader, servers::show)`.
#[macro_export]
macro_rules! route {
    ($method:ident $path:expr, $window:expr, $rule:expr, $handler:expr) => {
        $crate::api::router::Route {
            method: actix_web::http::Method::$method,
            path: $path,
            window: $window,
            rule: $rule,
            handler: |call| Box::pin($handler(call)),
        }
    };
}

/// The variable segments of a matched path, percent-decoded.
#[derive(Debug, Default, Clone)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// The value of a `{name}` in the route's path; empty for a name that the route does not have.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str())
    }
}

/// All routes of one API.
pub struct Router {
    routes: Vec<Route>,
    tree: matchit::Router<Vec<usize>>,
}

/// What a path and a method lead to.
pub enum Match<'r> {
    Found(&'r Route, Params),
    /// The operation exists, but not at this version.
    OutsideWindow,
    /// The path exists with other methods.
    OtherMethods(Vec<Method>),
    Nothing,
}

impl Router {
    /// Builds the table.
    ///
    /// # Panics
    /// At start, when two paths of the fixed table contradict each other.
    #[expect(
        clippy::expect_used,
        reason = "the table is fixed at compile time; every test starts by building it"
    )]
    pub fn new(routes: Vec<Route>) -> Self {
        let mut paths: Vec<(&'static str, Vec<usize>)> = Vec::new();
        for (index, route) in routes.iter().enumerate() {
            match paths.iter_mut().find(|(path, _)| *path == route.path) {
                Some((_, indexes)) => indexes.push(index),
                None => paths.push((route.path, vec![index])),
            }
        }
        let mut tree = matchit::Router::new();
        for (path, indexes) in paths {
            tree.insert(path, indexes).expect("routes of one API do not contradict each other");
        }
        Self { routes, tree }
    }

    /// Finds the route for a path without its mount. A slash at the end does not matter.
    pub fn find(&self, method: &Method, path: &str, minor: u16) -> Match<'_> {
        let trimmed = path.trim_end_matches('/');
        let Ok(found) = self.tree.at(if trimmed.is_empty() { "/" } else { trimmed }) else {
            return Match::Nothing;
        };
        let same_method = found.value.iter().map(|&i| &self.routes[i]).filter(|r| r.method == *method);
        let mut exists = false;
        for route in same_method {
            exists = true;
            if route.window.holds(minor) {
                let params = found
                    .params
                    .iter()
                    .map(|(key, value)| {
                        let value =
                            percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
                        (key.to_owned(), value)
                    })
                    .collect();
                return Match::Found(route, Params(params));
            }
        }
        if exists {
            return Match::OutsideWindow;
        }
        Match::OtherMethods(found.value.iter().map(|&i| self.routes[i].method.clone()).collect())
    }

    pub fn routes(&self) -> &[Route] {
        &self.routes
    }
}
