//! What a capability declares of the size of its input.

use mainstay_kernel::context_budget::{ContextBudget, DeclarationError};

use crate::agent::name;
use crate::fault::Fault;
use crate::pb;

impl TryFrom<pb::ContextBudget> for ContextBudget {
    type Error = Fault;

    fn try_from(message: pb::ContextBudget) -> Result<Self, Fault> {
        let pb::ContextBudget { max_tokens, encoding, over, by, fields } = message;
        let by = if by.is_empty() { None } else { Some(name("by", &by)?) };
        Self::declare(max_tokens, &encoding, &over, by, fields).map_err(|error| {
            let field = match error {
                DeclarationError::MaxTokens => "max_tokens",
                DeclarationError::Encoding => "encoding",
                DeclarationError::Over => "over",
                DeclarationError::By => "by",
                DeclarationError::Fields => "fields",
            };
            Fault::invalid(field, error)
        })
    }
}

impl From<&ContextBudget> for pb::ContextBudget {
    fn from(budget: &ContextBudget) -> Self {
        Self {
            max_tokens: budget.max_tokens,
            encoding: budget.encoding.as_str().to_owned(),
            over: budget.over.as_str().to_owned(),
            by: budget.over.by().map(ToString::to_string).unwrap_or_default(),
            fields: budget.fields.clone(),
        }
    }
}
