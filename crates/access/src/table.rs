//! A row of the authorisation table. Each router makes its rows of the very list that it routes by.

/// One route, and who may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `GET`, `POST`...; `GET` stands for `HEAD` too.
    pub method: &'static str,
    /// The route, with its parameters in braces.
    pub path: String,
    /// Who may: a permission's name, or words for what needs none.
    pub who: &'static str,
    /// On what: whose owner decides.
    pub of: &'static str,
}
