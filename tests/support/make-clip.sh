#!/bin/sh
# Makes src/demo/clip.webm, the clip that the stand-in plays: six seconds of FFmpeg's test picture and a quiet tone as VP8 and Opus
# in WebM, a key frame and a cluster each half second, so that the streamer can send it cluster by cluster and start again.
# Needs ffmpeg. The result is committed; run this only to change it.
set -eu
cd "$(dirname "$0")/../.."
ffmpeg -hide_banner -loglevel warning -y \
  -f lavfi -i "testsrc2=size=640x360:rate=20:duration=6" \
  -f lavfi -i "sine=frequency=330:sample_rate=48000:duration=6" \
  -filter:a "volume=0.15" \
  -c:v libvpx -b:v 250k -minrate 150k -maxrate 300k -deadline good -cpu-used 1 -g 10 -keyint_min 10 -pix_fmt yuv420p \
  -c:a libopus -b:a 24k -ac 1 \
  -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
  -live 1 -cluster_time_limit 500 -f webm src/demo/clip.webm
ls -l src/demo/clip.webm
