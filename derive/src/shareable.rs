//! Writes the implementation of `Shareable`.
//!
//! What the compiler knows is left to the compiler: sizes and offsets are measured in the generated code, not guessed from the
//! attributes.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DataEnum, DataStruct, DeriveInput, Error, Field, Fields, Generics, Member, Result, Type,
    parse_quote,
};

use crate::field_type;
use crate::krate::CrateArgument;
use crate::repr::Repr;

/// Writes `unsafe impl Shareable` for the type in `input`, or says why not.
pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let input: DeriveInput = syn::parse2(input)?;
    let repr = Repr::of(&input.attrs)?;
    let krate = CrateArgument::path(given_crate(&input.attrs)?);
    refuse_lifetimes(&input.generics)?;
    let body = match &input.data {
        Data::Struct(data) => struct_body(&input, data, &repr)?,
        Data::Enum(data) => enum_body(&input, data, &repr)?,
        Data::Union(data) => {
            return Err(Error::new_spanned(
                data.union_token,
                "a union cannot be shared, since its bytes do not tell which field is valid: use a struct, or an array \
                    of bytes",
            ));
        }
    };
    let implementation = implementation(&input, &body);
    Ok(quote! {
        const _: () = {
            use #krate as __procshare;

            #implementation
        };
    })
}

/// Reads `#[shareable(crate = path)]`.
fn given_crate(attributes: &[Attribute]) -> Result<Option<CrateArgument>> {
    let mut given = None;
    for attribute in attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("shareable"))
    {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("crate") {
                return Err(meta.error("`#[shareable(…)]` takes only `crate = path`"));
            }
            given = Some(CrateArgument::parse_value(meta.input)?);
            Ok(())
        })?;
    }
    Ok(given)
}

/// What differs between structs and enums.
struct Body {
    /// Destructures a value according to the type as written here, exhaustively and with the type of every part.
    parts: TokenStream,
    /// Assertions that no byte of the type is padding.
    checks: TokenStream,
    schema: TokenStream,
    any_bits: TokenStream,
    is_valid: TokenStream,
}

fn implementation(input: &DeriveInput, body: &Body) -> TokenStream {
    let Body {
        parts,
        checks,
        schema,
        any_bits,
        is_valid,
    } = body;
    let ident = &input.ident;
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(__procshare::Shareable));
    }
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    // A generic type has no layout yet: its check runs where it is used, and every path to a value goes through `SCHEMA`.
    let now = generics.params.is_empty().then(|| {
        quote! { #[allow(deprecated)] const _: () = { let _ = <#ident as __procshare::Shareable>::SCHEMA; }; }
    });
    quote! {
        #now

        // SAFETY: every field is `Shareable`, the representation fixes their order, and the checks do not compile if a byte lies
        // outside all of them; `SCHEMA` and `is_valid` use the same measured offsets. For an enum the representation fixes the
        // integer, and `is_valid` compares it with every variant. None of this compiles if another macro has since given the type
        // other fields, field types or variants (`parts`).
        #[automatically_derived]
        #[allow(deprecated)]
        unsafe impl #impl_generics __procshare::Shareable for #ident #ty_generics #where_clause {
            const SCHEMA: &'static __procshare::schema::Schema = {
                #checks
                #schema
            };
            const ANY_BITS: ::core::primitive::bool = {
                // Checking that all bits are a value checks the padding as well.
                let _ = <Self as __procshare::Shareable>::SCHEMA;
                #any_bits
            };

            #[inline]
            fn is_valid(__bytes: &[::core::primitive::u8]) -> ::core::primitive::bool {
                let _ = <Self as __procshare::Shareable>::SCHEMA;
                let _ = |__value: Self| { #parts };
                #is_valid
            }
        }
    }
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
    let checks = if repr.is_c() {
        layout_checks(&name.unraw().to_string(), &fields)
    } else {
        transparency_check(&name.unraw().to_string(), &fields)
    };
    let descriptions = fields.iter().map(describe);
    let any_bits = fields.iter().map(|StructField { ty, .. }| {
        quote_spanned! {ty.span()=> <#ty as __procshare::Shareable>::ANY_BITS }
    });
    let field_checks = fields.iter().map(|StructField { member, ty, .. }| {
        let is_valid = quote_spanned! {ty.span()=> <#ty as __procshare::Shareable>::is_valid };
        quote! {
            && __procshare::__private::field_bytes(
                __bytes,
                ::core::mem::offset_of!(Self, #member),
                ::core::mem::size_of::<#ty>(),
            ).is_some_and(|__bytes| #is_valid(__bytes))
        }
    });
    Ok(Body {
        parts: field_types(&fields),
        checks,
        schema: quote! {
            &__procshare::schema::Schema::Struct { fields: &[#(#descriptions),*] }
        },
        any_bits: quote! { true #(&& #any_bits)* },
        is_valid: quote! { __bytes.len() == ::core::mem::size_of::<Self>() #(#field_checks)* },
    })
}

/// Reports every field that is visibly wrong, not only the first.
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

/// A field, and its name: `total`, or `0` in a tuple struct.
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
    // The span makes the compiler report a type that is not `Shareable` at that type.
    let schema = quote_spanned! {ty.span()=> <#ty as __procshare::Shareable>::SCHEMA };
    quote! {
        __procshare::schema::Field {
            name: #name,
            offset: ::core::mem::offset_of!(Self, #member),
            schema: #schema,
        }
    }
}

/// Destructures a struct, naming every field with its type.
///
/// A raw pointer coerces only to a pointer of exactly that type: a reference would also accept a box.
fn field_types(fields: &[StructField<'_>]) -> TokenStream {
    let members = fields.iter().map(|field| &field.member);
    let parts: Vec<Ident> = (0..fields.len()).map(|i| format_ident!("__part{i}")).collect();
    let types = fields.iter().zip(&parts).map(|(StructField { ty, .. }, part)| {
        quote_spanned! {ty.span()=> let _: *const #ty = &raw const #part; }
    });
    quote! {
        let Self { #(#members: #parts),* } = __value;
        #(#types)*
    }
}

/// Writes the assertion that a struct has the layout of its one field, apart from fields without bytes.
fn transparency_check(name: &str, fields: &[StructField<'_>]) -> TokenStream {
    let sizes = fields
        .iter()
        .map(|StructField { ty, .. }| quote! { ::core::mem::size_of::<#ty>() });
    let refusal = format!(
        "`{name}` cannot be shared: it does not have the layout of its one field, which `#[repr(transparent)]` promises"
    );
    quote! {
        ::core::assert!(
            __procshare::__private::is_transparent(&[#(#sizes),*], ::core::mem::size_of::<Self>()),
            #refusal
        );
    }
}

/// Writes one assertion for each place where padding can occur: before each field, and after the last.
fn layout_checks(name: &str, fields: &[StructField<'_>]) -> TokenStream {
    let mut checks = TokenStream::new();
    let mut end = quote! { 0 };
    for field in fields {
        let StructField {
            ty,
            member,
            name: field_name,
            ..
        } = field;
        let start = quote! { ::core::mem::offset_of!(Self, #member) };
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
        let size = quote! { ::core::mem::size_of::<Self>() };
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
            __procshare::__private::PaddingMessage::new(#name, #place, #start - #end).as_str()
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
    let integer_type = quote! { ::core::primitive::#integer };
    Ok(Body {
        parts: quote! { match __value { #(Self::#variants => {}),* } },
        checks: quote! {
            ::core::assert!(
                ::core::mem::size_of::<Self>() == ::core::mem::size_of::<#integer_type>(),
                #too_large
            );
        },
        schema: quote! {
            &__procshare::schema::Schema::Enum {
                repr: <#integer_type as __procshare::Shareable>::SCHEMA,
                variants: &[#(
                    __procshare::schema::Variant {
                        name: #names,
                        value: Self::#variants as ::core::primitive::i128,
                    }
                ),*],
            }
        },
        any_bits: quote! { false },
        is_valid: quote! {
            let ::core::result::Result::Ok(__bytes) = ::core::convert::TryFrom::try_from(__bytes) else {
                return false;
            };
            let __value = #integer_type::from_ne_bytes(__bytes);
            #(__value == Self::#variants as #integer_type)||*
        },
    })
}

fn refuse_variants(input: &DeriveInput, data: &DataEnum) -> Result<()> {
    if data.variants.is_empty() {
        return Err(Error::new_spanned(
            &input.ident,
            format!(
                "`{}` has no variants, so no bytes are a valid value of it: add one",
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
