# Two images from one file: docker build --target operator . ; docker build --target guard .
# Static programs on an empty base image, run as an unprivileged user.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
ENV RUSTFLAGS="-C target-feature=+crt-static"
# with an explicit target, procedural macros, which run at build time, are not linked statically
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && cargo build --locked --release --target "$target" --bin quorum-operator \
 && cargo build --locked --release --target "$target" --no-default-features --features guard --bin quorum-guard \
 && mkdir /out && cp "target/$target/release/quorum-operator" "target/$target/release/quorum-guard" /out/

FROM scratch AS operator
COPY --from=build /out/quorum-operator /quorum-operator
USER 65532:65532
ENTRYPOINT ["/quorum-operator"]

FROM scratch AS guard
COPY --from=build /out/quorum-guard /quorum-guard
USER 65532:65532
ENTRYPOINT ["/quorum-guard"]
