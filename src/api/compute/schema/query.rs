//! Query strings: which parameters an operation knows, and since when it refuses others.

use super::check::{self, Context, unexpected};
use super::python::quote;
use super::{Schema, types};
use crate::api::call::Query;
use crate::api::compute::changes::{self, Input};
use crate::core::Error;
use serde_json::Value;

/// One parameter, which may come more than once unless `single`.
pub struct Parameter {
    pub name: &'static str,
    /// What each value has to be, oldest form first where the ledger changed it.
    pub forms: &'static [&'static Schema],
    pub single: bool,
}

pub const fn parameter(name: &'static str, forms: &'static [&'static Schema]) -> Parameter {
    Parameter { name, forms, single: false }
}

/// A parameter that may come once.
pub const fn single(name: &'static str, forms: &'static [&'static Schema]) -> Parameter {
    Parameter { name, forms, single: true }
}

/// The parameters of one operation.
pub struct Parameters {
    /// The name under which the ledger knows this query; it also says when unknown parameters began to be refused.
    pub input: Input,
    pub known: &'static [Parameter],
    /// Names with this beginning are kept for the handler to refuse.
    pub kept_prefix: Option<&'static str>,
}

/// The parameters of an operation without any.
pub static NONE: Parameters = Parameters { input: Input::OtherQuery, known: &[], kept_prefix: None };

/// A page of a list.
pub const LIMIT: Parameter = parameter("limit", &[&types::LIMIT]);
pub const MARKER: Parameter = parameter("marker", &[&types::STRING]);

/// Checks a query and leaves in it what the operation knows at this version.
///
/// # Errors
/// 400 with the words of the first condition that fails.
pub fn check(parameters: &Parameters, query: &mut Query, context: Context) -> Result<(), Error> {
    let closed = !context.relaxed && changes::closed(parameters.input, context.minor);
    for known in parameters.known.iter().filter(|known| knows(parameters, known.name, context)) {
        let form = changes::form(parameters.input, known.name, context.minor);
        let schema = known.forms[form.min(known.forms.len() - 1)];
        let values: Vec<String> = query.all(known.name).map(str::to_owned).collect();
        if known.single && values.len() > 1 {
            let list: Vec<_> = values.iter().map(|value| quote(value)).collect();
            return Err(Error::invalid(format!(
                "Invalid input for query parameters {}. Value: [{list}]. [{list}] is too long",
                known.name,
                list = list.join(", ")
            )));
        }
        for value in values {
            check::apply(schema, &mut Value::String(value), context, Some(known.name))
                .map_err(|problem| Error::invalid(problem.sentence("query parameters")))?;
        }
    }
    let kept = |name: &str| {
        parameters.kept_prefix.is_some_and(|prefix| name.starts_with(prefix))
            || (parameters.known.iter().any(|known| known.name == name) && knows(parameters, name, context))
    };
    if closed {
        let mut extra: Vec<String> =
            query.0.iter().filter(|(name, _)| !kept(name)).map(|(name, _)| quote(name)).collect();
        extra.sort_unstable();
        extra.dedup();
        return unexpected(&extra).map_or(Ok(()), |detail| Err(Error::invalid(detail)));
    }
    query.0.retain(|(name, _)| kept(name));
    Ok(())
}

fn knows(parameters: &Parameters, name: &str, context: Context) -> bool {
    changes::accepts(parameters.input, name, context.minor)
}
