//! `#[derive(Module)]`, which `signet::nn::Module` documents.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::{Data, DeriveInput, Error, Field, GenericParam, Generics, Index, Result, parse_quote};

/// Names what a struct is made of: `signet::nn::Module` says how.
#[proc_macro_derive(Module, attributes(module))]
pub fn derive_module(input: TokenStream) -> TokenStream {
    let input = syn::parse_macro_input!(input as DeriveInput);
    module(&input).unwrap_or_else(Error::into_compile_error).into()
}

fn module(input: &DeriveInput) -> Result<Tokens> {
    let Data::Struct(data) = &input.data else {
        return Err(Error::new_spanned(
            &input.ident,
            "a struct derives `Module`, and nothing else",
        ));
    };
    let float = float(&input.generics);
    let parts = data.fields.iter().enumerate().map(|(i, field)| part(i, field, &float));
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let name = &input.ident;
    let (generics, arguments, conditions) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::signet::nn::Module<#float> for #name #arguments #conditions {
            fn state(&self) -> ::std::vec::Vec<(::std::string::String, ::signet::nn::State<#float>)> {
                let mut state = ::std::vec::Vec::new();
                #(#parts)*
                state
            }
        }
    })
}

/// What its parameters are: the parameter with the bound `Float`, or `f32`.
fn float(generics: &Generics) -> Tokens {
    let is_float = |bound: &syn::TypeParamBound| {
        matches!(bound, syn::TypeParamBound::Trait(bound)
            if bound.path.segments.last().is_some_and(|name| name.ident == "Float"))
    };
    let found = generics.params.iter().find_map(|parameter| match parameter {
        GenericParam::Type(parameter) if parameter.bounds.iter().any(is_float) => {
            Some(&parameter.ident)
        }
        _ => None,
    });
    found.map_or_else(|| quote!(f32), |float| quote!(#float))
}

/// What a field is, by its `#[module(..)]`.
enum Kind {
    Module,
    Parameter,
    Buffer,
    Skip,
}

impl Kind {
    fn of(field: &Field) -> Result<Self> {
        let mut kind = Self::Module;
        for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("module"))
        {
            attribute.parse_nested_meta(|word| {
                kind = match () {
                    () if word.path.is_ident("parameter") => Self::Parameter,
                    () if word.path.is_ident("buffer") => Self::Buffer,
                    () if word.path.is_ident("skip") => Self::Skip,
                    () => return Err(word.error("expected `parameter`, `buffer` or `skip`")),
                };
                Ok(())
            })?;
        }
        Ok(kind)
    }
}

/// Adds what is in field number `i`.
fn part(i: usize, field: &Field, float: &Tokens) -> Result<Tokens> {
    let (name, member) = match &field.ident {
        Some(ident) => (ident.to_string(), parse_quote!(#ident)),
        None => (i.to_string(), syn::Member::Unnamed(Index::from(i))),
    };
    let name = name.trim_start_matches("r#");
    // A tensor, or an `Option` of one.
    let tensors = |variant: Tokens| {
        quote! {
            let tensor: ::std::option::Option<::signet::Tensor<#float>> = self.#member.clone().into();
            state.extend(tensor.map(|tensor| (#name.into(), ::signet::nn::State::#variant(tensor))));
        }
    };
    Ok(match Kind::of(field)? {
        Kind::Module => quote! {
            state.extend(::signet::nn::Module::<#float>::state_of_part(&self.#member, #name));
        },
        Kind::Parameter => tensors(quote!(Parameter)),
        Kind::Buffer => tensors(quote!(Buffer)),
        Kind::Skip => Tokens::new(),
    })
}
