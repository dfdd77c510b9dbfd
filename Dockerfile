# A static binary on an empty image, with the CA certificates that TLS needs.
#
#   docker build -t fastimage .
#   docker run --rm -v "$PWD:/work" -e HUAWEICLOUD_SDK_AK -e HUAWEICLOUD_SDK_SK \
#       fastimage import --region cn-north-4 --bucket images --name web-1 --os-version "CentOS 7.0 64bit" web.qcow2
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /out/fastimage ./quickimport/cmd/fastimage \
 && mkdir -p /out/tmp /out/work /out/state && chmod 1777 /out/tmp && chown 65532:65532 /out/work /out/state

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/fastimage /usr/bin/fastimage
COPY --from=build /out/tmp /tmp
COPY --from=build --chown=65532:65532 /out/work /work
COPY --from=build --chown=65532:65532 /out/state /state
# The state that resumes an import outlives the container if /state is a volume.
ENV HOME=/state XDG_CACHE_HOME=/state
USER 65532:65532
WORKDIR /work
ENTRYPOINT ["/usr/bin/fastimage"]
