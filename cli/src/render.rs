//! Views, made readable for people. Everything that came from elsewhere passes [`text::plain`] on its way.

pub mod page;
pub mod paint;
pub mod table;
pub mod text;
