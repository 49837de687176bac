//! What a caller of the network API asks of a list: filters, order and page.

use super::ids::ProjectId;

/// One list request. Names are those of the API's attributes; what they mean in the store is the store's matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Each attribute with the values of which one must match.
    pub filters: Vec<(String, Vec<String>)>,
    pub sort: Vec<SortKey>,
    /// The largest number of entries; `None` is all.
    pub limit: Option<u32>,
    /// The id of the entry before the page (after it, when reversed).
    pub marker: Option<String>,
    /// The page that ends before the marker.
    pub reverse: bool,
    /// The project whose view it is; `None` sees everything.
    pub viewer: Option<ProjectId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    pub attribute: String,
    pub descending: bool,
}
