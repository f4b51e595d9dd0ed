//! A certification authority for development and tests that speaks CMP. Not for production
