//! What the services of all kinds of documents have in common: pages, findings, and what a client is told of an error.

use mainstay_kernel::document::Problem;
use mainstay_kernel::name::Name;
use mainstay_proto::fault::Fault;
use mainstay_proto::pb;
use mainstay_proto::reason::Reason;

use super::page::Page;
use crate::api::{blob_fault, store_fault};
use crate::documents::{CatalogError, Document, Handle, PutError, parse};
use crate::records::document::Stored;

/// One page of the newest versions, and the token of the next; empty on the last.
pub(super) fn page<D: Document>(
    catalog: &Handle<D>,
    tenant: &Name,
    page: &Page,
) -> Result<(Vec<Stored>, String), Fault> {
    let mut listed = catalog.list(tenant, page.cursor_text()?, page.size + 1).map_err(catalog_fault)?;
    let more = listed.len() > page.size;
    listed.truncate(page.size);
    let next = listed.last().filter(|_| more).map(|last| page.next(last.name.as_str().as_bytes()));
    Ok((listed, next.unwrap_or_default()))
}

/// Everything there is to say about a document that is not stored.
pub(super) async fn lint<D: Document>(document: String) -> Vec<pb::Finding> {
    match parse::<D>(document).await {
        Ok(parsed) => warnings(parsed.lint()),
        Err(problems) => problems.iter().map(|problem| finding(problem, pb::Severity::Error)).collect(),
    }
}

/// What is allowed but probably not meant.
pub(super) fn warnings(problems: &[Problem]) -> Vec<pb::Finding> {
    problems.iter().map(|problem| finding(problem, pb::Severity::Warning)).collect()
}

fn finding(problem: &Problem, severity: pb::Severity) -> pb::Finding {
    pb::Finding {
        severity: severity.into(),
        code: problem.code.to_string(),
        line: problem.line().unwrap_or_default(),
        column: problem.column().unwrap_or_default(),
        path: problem.path.clone(),
        message: problem.message.clone(),
        hint: problem.hint.clone(),
    }
}

/// What a client is told of a document that was not put.
pub(super) fn put_fault(error: PutError) -> Fault {
    match error {
        PutError::Invalid(kind, problems) => {
            let count = problems.len();
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            let fault = match &problems[..] {
                // The only one is what the error is about.
                [only] => Fault::new(kind.invalid, only).precisely(only.code.as_str()),
                _ => Fault::new(kind.invalid, format_args!("{count} errors, the first: {first}")),
            };
            problems.into_iter().fold(fault, |fault, problem| {
                fault.violation(
                    format_args!("document.{}", problem.path),
                    format_args!("{}: {} {}", problem.code, problem.message, problem.hint),
                )
            })
        }
        PutError::VersionTaken { kind, version, .. } => {
            Fault::field(kind.version_taken, "document.version", &error)
                .hint(format_args!("set `version: {}` and put it again", version.saturating_add(1)))
        }
        PutError::Catalog(error) => catalog_fault(error),
        PutError::Record(error) => Fault::new(Reason::Internal, error),
        PutError::Blob(error) => blob_fault(&error),
        PutError::Commit(error) => store_fault(error),
    }
}

/// What a client is told of a document that is not to be had.
pub(crate) fn catalog_fault(error: CatalogError) -> Fault {
    let reason = match &error {
        CatalogError::NotFound { kind, .. } => kind.not_found,
        CatalogError::Damaged(_) => Reason::RecordDamaged,
        CatalogError::Unavailable(_) => Reason::StoreFailed,
    };
    Fault::new(reason, error)
}
