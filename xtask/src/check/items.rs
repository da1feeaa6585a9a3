//! The functions and types of a Rust file, as the rules see them.
//!
//! Owns the reading of the syntax tree; it judges nothing. Called by `rules`.

use anyhow::Result;
use syn::visit::{self, Visit};
use syn::{
    Block, FnArg, ImplItemFn, ItemEnum, ItemFn, ItemImpl, ItemStruct, ItemTrait, Pat, Signature,
    TraitItemFn, Type,
};

/// One function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// The line of its `fn`, from 1.
    pub(super) line: usize,
    /// Its lines, from `fn` to the closing brace.
    pub(super) lines: usize,
    /// The first parameter that is a plain `bool`, where the signature is ours to choose.
    pub(super) bool_parameter: Option<String>,
}

/// What a file defines.
#[derive(Debug, Default)]
pub(super) struct Items {
    /// Every function with a body, tests included.
    pub(super) functions: Vec<Function>,
    /// Structs, enums and traits with their lines.
    pub(super) types: Vec<(String, usize)>,
    /// Inside `impl Trait for`: the trait, and not this code, chose names and parameters.
    signature_is_given: bool,
}

impl Items {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// The text is not Rust.
    pub(super) fn of(text: &str) -> Result<Self> {
        let file = syn::parse_file(text)?;
        let mut items = Self::default();
        items.visit_file(&file);
        Ok(items)
    }

    fn add(&mut self, signature: &Signature, body: &Block) {
        let line = signature.fn_token.span.start().line;
        let end = body.brace_token.span.close().end().line;
        let bool_parameter = signature
            .inputs
            .iter()
            .filter(|_| !self.signature_is_given)
            .find_map(bool_name);
        self.functions.push(Function {
            name: signature.ident.to_string(),
            line,
            lines: end - line + 1,
            bool_parameter,
        });
    }

    fn add_type(&mut self, ident: &syn::Ident) {
        self.types
            .push((ident.to_string(), ident.span().start().line));
    }
}

fn bool_name(input: &FnArg) -> Option<String> {
    let FnArg::Typed(typed) = input else {
        return None;
    };
    let Type::Path(path) = typed.ty.as_ref() else {
        return None;
    };
    path.path
        .is_ident("bool")
        .then(|| match typed.pat.as_ref() {
            Pat::Ident(name) => name.ident.to_string(),
            _ => "_".into(),
        })
}

impl<'ast> Visit<'ast> for Items {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &'ast TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let outside = std::mem::replace(&mut self.signature_is_given, block.trait_.is_some());
        visit::visit_item_impl(self, block);
        self.signature_is_given = outside;
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        self.add_type(&item.ident);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        self.add_type(&item.ident);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        self.add_type(&item.ident);
        visit::visit_item_trait(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_of_every_kind_are_found_with_their_lengths() {
        let items = Items::of(
            "fn one() {}\nimpl A {\n /// Doc.\n fn two(\n ) {\n }\n}\ntrait T {\n fn three() { fn four() {} }\n fn five();\n}",
        )
        .unwrap();
        let found: Vec<_> = items
            .functions
            .iter()
            .map(|f| (f.name.as_str(), f.line, f.lines))
            .collect();
        assert_eq!(
            found,
            [
                ("one", 1, 1),
                ("two", 4, 3),
                ("three", 9, 1),
                ("four", 9, 1)
            ]
        );
    }

    #[test]
    fn a_bool_that_a_trait_prescribes_is_not_ours() {
        let items =
            Items::of("impl T for A { fn f(&self, on: bool) {} }\nfn g(on: &bool, off: bool) {}")
                .unwrap();
        let found: Vec<_> = items
            .functions
            .iter()
            .map(|f| f.bool_parameter.as_deref())
            .collect();
        assert_eq!(found, [None, Some("off")]);
    }

    #[test]
    fn text_that_is_no_rust_is_refused() {
        assert!(Items::of("fn {").is_err());
    }
}
