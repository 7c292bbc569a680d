# A static binary, CA certificates, and nothing else.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=0.1.0-dev
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /out/sedge ./cmd/sedge
# Empty directories with the modes that they need in the image: sockets of plugin
# processes live in /tmp, profiles and events in /var/lib/sedge.
RUN mkdir -p /out/root/tmp /out/root/etc/sedge /out/root/var/lib/sedge && chmod 1777 /out/root/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /out/root/ /
COPY --from=build /out/sedge /usr/local/bin/sedge
ENV PATH=/usr/local/bin
USER 65532:65532
# Relative paths of the configuration, such as data_dir, start here.
WORKDIR /var/lib/sedge
VOLUME /var/lib/sedge
EXPOSE 8080 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["sedge", "healthcheck"]
ENTRYPOINT ["sedge"]
CMD ["serve", "-c", "/etc/sedge/sedge.yaml"]
