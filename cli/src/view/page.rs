//! A page of `explain`.

use mainstay_proto::pages::{Kind, Page};
use serde::Serialize;

/// What a code means.
#[derive(Debug, Clone, Serialize)]
pub struct PageView {
    /// The code.
    pub code: &'static str,
    /// Where one meets it: `error` (a refused request or failed call), `finding`, or `warning` (of a workflow document).
    pub kind: &'static str,
    /// The gRPC code it travels under; only for errors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grpc: Option<String>,
    /// What happened.
    pub cause: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

impl From<Page> for PageView {
    fn from(page: Page) -> Self {
        let (kind, grpc) = match page.kind {
            Kind::Reason(code) => ("error", Some(format!("{code:?}"))),
            Kind::Error => ("finding", None),
            Kind::Warning => ("warning", None),
        };
        Self { code: page.code, kind, grpc, cause: page.cause, remedy: page.remedy }
    }
}
