//! Writes the implementation of `Shareable`.
//!
//! What the compiler knows is asked of the compiler: sizes and offsets are measured in the code written here, not guessed
//! from the attributes.

use proc_macro2::{Ident, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Data, DataEnum, DataStruct, DeriveInput, Error, Field, Fields, Generics, Member, Result, Type, parse_quote};

use crate::field_type;
use crate::repr::Repr;

/// Writes `unsafe impl Shareable` for the type in `input`, or says why not.
pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let repr = Repr::of(&input.attrs)?;
    refuse_lifetimes(&input.generics)?;
    let body = match &input.data {
        Data::Struct(data) => struct_body(&input, data, &repr)?,
        Data::Enum(data) => enum_body(&input, data, &repr)?,
        Data::Union(data) => {
            return Err(Error::new_spanned(
                data.union_token,
                "a union cannot be shared, since nobody can tell which of its fields is meant: use a struct, or an array \
                 of bytes",
            ));
        }
    };
    Ok(implementation(&input, &body))
}

/// What differs between structs and enums.
struct Body {
    /// Assertions that no byte of the type is padding.
    checks: TokenStream,
    schema: TokenStream,
    any_bits: TokenStream,
    is_valid: TokenStream,
}

fn implementation(input: &DeriveInput, body: &Body) -> TokenStream {
    let Body {
        checks,
        schema,
        any_bits,
        is_valid,
    } = body;
    let ident = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::procshare::Shareable));
    }
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    // A generic type has no layout yet: its check runs wherever it is used, and no way to a value leads past `SCHEMA`.
    let (now, at_use, use_it) = if generics.params.is_empty() {
        (quote! { #[allow(deprecated)] const _: () = { #checks }; }, None, None)
    } else {
        (TokenStream::new(), Some(checks), Some(quote! { let _ = Self::SCHEMA; }))
    };
    quote! {
        #now

        // SAFETY: every field is `Shareable`, the representation fixes their order, and the checks do not compile if a
        // byte lies outside all of them; `SCHEMA` and `is_valid` use the same measured offsets. Of an enum the
        // representation fixes the integer, and `is_valid` compares it with every variant.
        #[automatically_derived]
        #[allow(deprecated)]
        unsafe impl #impl_generics ::procshare::Shareable for #ident #ty_generics #where_clause {
            const SCHEMA: &'static ::procshare::schema::Schema = {
                #at_use
                #schema
            };
            const ANY_BITS: ::core::primitive::bool = {
                // Whoever asks whether all bits are a value has the padding checked as well.
                let _ = <Self as ::procshare::Shareable>::SCHEMA;
                #any_bits
            };

            #[inline]
            fn is_valid(bytes: &[::core::primitive::u8]) -> ::core::primitive::bool {
                #use_it
                #is_valid
            }
        }
    }
}

/// Writes the type as code outside its `impl` names it.
fn this(input: &DeriveInput) -> TokenStream {
    let ident = &input.ident;
    let (_, ty_generics, _) = input.generics.split_for_impl();
    quote! { #ident #ty_generics }
}

fn refuse_lifetimes(generics: &Generics) -> Result<()> {
    match generics.lifetimes().next() {
        Some(lifetime) => Err(Error::new_spanned(
            lifetime,
            "a type that borrows cannot be shared, since a reference means nothing to another process: store the value \
             itself, or an index",
        )),
        None => Ok(()),
    }
}

fn struct_body(input: &DeriveInput, data: &DataStruct, repr: &Repr) -> Result<Body> {
    let name = &input.ident;
    if !repr.is_c() && !repr.is_transparent() {
        return Err(Error::new_spanned(
            name,
            format!(
                "`{name}` needs `#[repr(C)]`: without it the compiler may order the fields differently in another build"
            ),
        ));
    }
    refuse_fields(&data.fields, &input.generics)?;
    let fields = members(&data.fields);
    // A transparent struct has the layout of its one field, whatever empty fields stand beside it.
    let checks = if repr.is_c() {
        layout_checks(&name.unraw().to_string(), &this(input), &fields)
    } else {
        TokenStream::new()
    };
    let descriptions = fields.iter().map(describe);
    let any_bits = fields.iter().map(|StructField { ty, .. }| {
        quote_spanned! {ty.span()=> <#ty as ::procshare::Shareable>::ANY_BITS }
    });
    let field_checks = fields.iter().map(|StructField { member, ty, .. }| {
        let is_valid = quote_spanned! {ty.span()=> <#ty as ::procshare::Shareable>::is_valid(bytes) };
        quote! {
            && ::procshare::__private::field_bytes(
                bytes,
                ::core::mem::offset_of!(Self, #member),
                ::core::mem::size_of::<#ty>(),
            ).is_some_and(|bytes| #is_valid)
        }
    });
    Ok(Body {
        checks,
        schema: quote! {
            &::procshare::schema::Schema::Struct { fields: &[#(#descriptions),*] }
        },
        any_bits: quote! { true #(&& #any_bits)* },
        is_valid: quote! { bytes.len() == ::core::mem::size_of::<Self>() #(#field_checks)* },
    })
}

/// Reports every field that can be seen to be wrong, not only the first.
fn refuse_fields(fields: &Fields, generics: &Generics) -> Result<()> {
    let refused = fields
        .iter()
        .filter_map(|field| field_type::refuse(&field.ty, generics));
    match refused.reduce(|mut all, next| {
        all.combine(next);
        all
    }) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// A field, and how to name it: `total`, or `0` in a tuple struct.
struct StructField<'a> {
    field: &'a Field,
    ty: &'a Type,
    member: Member,
    name: String,
}

fn members(fields: &Fields) -> Vec<StructField<'_>> {
    fields
        .iter()
        .zip(fields.members())
        .map(|(field, member)| {
            let name = match &member {
                Member::Named(ident) => ident.unraw().to_string(),
                Member::Unnamed(index) => index.index.to_string(),
            };
            StructField {
                field,
                ty: &field.ty,
                member,
                name,
            }
        })
        .collect()
}

fn describe(field: &StructField<'_>) -> TokenStream {
    let StructField { ty, member, name, .. } = field;
    // The span puts the compiler's word about a type that is not `Shareable` where that type stands.
    let schema = quote_spanned! {ty.span()=> <#ty as ::procshare::Shareable>::SCHEMA };
    quote! {
        ::procshare::schema::Field {
            name: #name,
            offset: ::core::mem::offset_of!(Self, #member),
            schema: #schema,
        }
    }
}

/// Writes one assertion per place where padding can be: before each field, and after the last.
fn layout_checks(name: &str, this: &TokenStream, fields: &[StructField<'_>]) -> TokenStream {
    let mut checks = TokenStream::new();
    let mut end = quote! { 0 };
    for field in fields {
        let StructField {
            ty,
            member,
            name: field_name,
            ..
        } = field;
        let start = quote! { ::core::mem::offset_of!(#this, #member) };
        checks.extend(gap_check(
            field.field,
            name,
            &format!("before field `{field_name}`"),
            &start,
            &end,
        ));
        end = quote! { (#start + ::core::mem::size_of::<#ty>()) };
    }
    if let Some(last) = fields.last() {
        let size = quote! { ::core::mem::size_of::<#this>() };
        checks.extend(gap_check(
            last.field,
            name,
            &format!("after field `{}`", last.name),
            &size,
            &end,
        ));
    }
    checks
}

fn gap_check(at: &Field, name: &str, place: &str, start: &TokenStream, end: &TokenStream) -> TokenStream {
    quote_spanned! {at.span()=>
        ::core::assert!(
            #start == #end,
            "{}",
            ::procshare::__private::PaddingMessage::new(#name, #place, #start - #end).as_str()
        );
    }
}

fn enum_body(input: &DeriveInput, data: &DataEnum, repr: &Repr) -> Result<Body> {
    let name = &input.ident;
    refuse_variants(input, data)?;
    let integer = enum_repr(name, repr)?;
    let variants: Vec<&Ident> = data.variants.iter().map(|variant| &variant.ident).collect();
    let names = variants.iter().map(|variant| variant.unraw().to_string());
    let too_large = format!(
        "`{}` cannot be shared: its `align` adds padding; remove it, or wrap the enum",
        name.unraw()
    );
    let this = this(input);
    let integer_type = quote! { ::core::primitive::#integer };
    Ok(Body {
        checks: quote! {
            ::core::assert!(
                ::core::mem::size_of::<#this>() == ::core::mem::size_of::<#integer_type>(),
                #too_large
            );
        },
        schema: quote! {
            &::procshare::schema::Schema::Enum {
                repr: <#integer_type as ::procshare::Shareable>::SCHEMA,
                variants: &[#(
                    ::procshare::schema::Variant {
                        name: #names,
                        value: Self::#variants as ::core::primitive::i128,
                    }
                ),*],
            }
        },
        any_bits: quote! { false },
        is_valid: quote! {
            let ::core::result::Result::Ok(bytes) = ::core::convert::TryFrom::try_from(bytes) else {
                return false;
            };
            let value = #integer_type::from_ne_bytes(bytes);
            #(value == Self::#variants as #integer_type)||*
        },
    })
}

fn refuse_variants(input: &DeriveInput, data: &DataEnum) -> Result<()> {
    if data.variants.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            format!(
                "`{}` has no variants, so no bytes are a value of it: add one",
                input.ident
            ),
        ));
    }
    for variant in &data.variants {
        if !variant.fields.is_empty() {
            return Err(Error::new_spanned(
                &variant.fields,
                "an enum with fields cannot be shared, since its variants leave bytes unused: use a struct with an enum \
                 without fields and the data beside it",
            ));
        }
    }
    Ok(())
}

/// Returns the integer that represents the enum, or says that one is needed.
fn enum_repr<'a>(name: &Ident, repr: &'a Repr) -> Result<&'a Ident> {
    if let Some(hint) = repr.pointer_sized() {
        return Err(Error::new_spanned(
            hint,
            format!(
                "`{hint}` differs in width between builds: use `{}`",
                if hint == "usize" { "u64" } else { "i64" }
            ),
        ));
    }
    repr.integer().ok_or_else(|| {
        Error::new_spanned(
            name,
            format!(
                "`{name}` needs an integer representation such as `#[repr(u8)]`, at most 64 bits wide: without it the \
                 compiler chooses the size"
            ),
        )
    })
}
