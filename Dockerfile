# The controller, and the demo. A worker's stream processes (moonlight-web-stream, ffmpeg) are not in it.
#
#   ./package && cp target/x86_64-unknown-linux-gnu/release/hydraneckwebrtc .
#   docker build -t hydraneckwebrtc .
#   docker run -p 47990:47990 -v ./config.yaml:/config.yaml:ro -v neck-state:/state hydraneckwebrtc controller --config /config.yaml
#   docker run --network host hydraneckwebrtc demo
#
# The configuration must be readable by the user 65532 and by nobody else (`chown 65532 config.yaml; chmod 0400 config.yaml`).
FROM scratch
COPY hydraneckwebrtc /hydraneckwebrtc
# The directories come with their owner, because there is no shell to make them with.
COPY --chown=65532:65532 packaging/container/state /state
COPY --chown=65532:65532 packaging/container/state /tmp
# A directory of the program alone: the one above it has what came with the image, and others may enter it.
ENV HOME=/state STATE_DIRECTORY=/state/hydraneckwebrtc
USER 65532:65532
ENTRYPOINT ["/hydraneckwebrtc"]
