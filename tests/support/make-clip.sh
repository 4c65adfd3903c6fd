#!/bin/sh
# Makes tests/support/standins/clip.webm, the clip that the stand-in plays: six seconds of what src/engine/clip/scene.sh describes as VP8 and Opus
# in WebM, a key frame and a cluster each half second, so that the streamer can send it cluster by cluster and start again.
# Needs ffmpeg and the fonts of DejaVu. The result is committed; run this only to change it.
set -eu
cd "$(dirname "$0")/../.."
. src/engine/clip/scene.sh
picture 6 20 'The stand-in for moonlight,' 'by WebSocket.'
ffmpeg -hide_banner -loglevel warning -y $inputs -f lavfi -i "$(sound 6):duration=6" -filter_complex "${filter}[picture]" \
  -map '[picture]' -map 2:a \
  -c:v libvpx -b:v 250k -minrate 150k -maxrate 300k -deadline good -cpu-used 1 -g 10 -keyint_min 10 \
  -c:a libopus -b:a 24k -ac 1 \
  -fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1 \
  -live 1 -cluster_time_limit 500 -f webm tests/support/standins/clip.webm
ls -l tests/support/standins/clip.webm
