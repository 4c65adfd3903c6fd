#!/bin/sh
# Makes src/engine/clip/clip.webm, the clip that the engine `demo` plays: ten seconds of what scene.sh describes (640x360, 25 frames
# a second, a key frame each two seconds) as VP8 and Opus. The sound is cut out of the middle of a longer one, so that the coder's
# state at the end is that at the beginning and the loop cannot be heard.
# Needs ffmpeg and the fonts of DejaVu. The result is committed; run this only to change it.
set -eu
cd "$(dirname "$0")"
. ./scene.sh
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
quiet="-hide_banner -loglevel warning -y"
exact="-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1"
picture 10 25 'Picture and sound by WebRTC,' 'played by your browser alone.'
ffmpeg $quiet $inputs -filter_complex "$filter" \
  -c:v libvpx -b:v 300k -minrate 150k -maxrate 500k -bufsize 600k -deadline good -cpu-used 0 -auto-alt-ref 0 \
  -g 50 -keyint_min 50 $exact -f webm "$work/picture.webm"
ffmpeg $quiet -f lavfi -i "$(sound 10):duration=30" \
  -c:a libopus -b:a 32k -vbr off -ac 1 -application audio -frame_duration 20 $exact -f webm "$work/sound.webm"
ffmpeg $quiet -i "$work/picture.webm" -ss 10 -i "$work/sound.webm" -map 0:v -map 1:a -c copy -frames:a 500 \
  $exact -f webm clip.webm
ls -l clip.webm
