# What the clips of `demo` and of the stand-in show and sound like, for FFmpeg: sourced by the scripts that make them. Everything has
# a period of which `seconds` are a multiple, so that the loop shows nowhere.

# picture SECONDS RATE LINE LINE: the inputs and the filter of slow colours with a title, two lines, and a clock whose hand goes
# round once. Sets `inputs` and `filter`. Needs the fonts of DejaVu.
picture() {
  fonts=/usr/share/fonts/truetype/dejavu
  turn="2*PI*T/$1"
  # Three waves that drift over a dark ground, small and then enlarged, which is smooth and quick.
  wave="0.5+0.5*sin(X/W*3.1+Y/H*1.7+$turn)"
  other="0.5+0.5*sin(X/W*2.3-Y/H*2.9-$turn+1.3)"
  third="0.5+0.5*sin((X/W+Y/H)*2.2+2*$turn+4)"
  colours="geq=r='22+46*($wave)*($wave)+40*($third)*($other)':g='30+54*($other)*($other)':b='58+78*($wave)+34*($other)'"
  far="hypot(X-60,Y-60)"
  ring="clip(2.2-abs($far-50),0,1)*120"
  past="lt(mod(atan2(X-60,60-Y)+2*PI,2*PI),$turn)*clip(2.6-abs($far-50),0,1)*255"
  tip="clip(7-hypot(X-60-50*sin($turn),Y-60+50*cos($turn)),0,1)*255"
  clock="geq=lum=255:cb=128:cr=128:a='max(max($ring,$past),$tip)'"
  small="drawtext=fontfile=$fonts/DejaVuSans.ttf:fontsize=19:fontcolor=white@0.78:x=58"
  inputs="-f lavfi -i color=black:size=160x90:rate=$2:duration=$1 -f lavfi -i color=black:size=120x120:rate=$2:duration=$1"
  filter="[0]format=gbrp,$colours,scale=640:360:flags=bicubic,format=yuv420p[ground];[1]format=yuva444p,$clock[clock];\
[ground][clock]overlay=452:112:format=auto,\
drawtext=fontfile=$fonts/DejaVuSans-Bold.ttf:text=hydraneckwebrtc:fontsize=38:fontcolor=white@0.96:x=56:y=136,\
$small:text='$3':y=192,$small:text='$4':y=218,\
drawtext=fontfile=$fonts/DejaVuSansMono.ttf:text='%{eif\\:t\\:d}.%{eif\\:mod(floor(t*10+0.01)\\,10)\\:d}':fontsize=30:fontcolor=white@0.92:\
x=512-tw/2:y=160,format=yuv420p"
}

# voice HERTZ LOUDNESS TIMES PHASE SECONDS: one tone that comes and goes so many times a round.
voice() { echo "$2*(0.6+0.4*sin(2*PI*t/$5*$3+$4))*sin(2*PI*$1*t)"; }

# sound SECONDS: a calm chord, and a bell each two seconds.
sound() {
  chord="$(voice 110 0.10 1 0 "$1")+$(voice 165 0.07 1 2.1 "$1")+$(voice 220 0.06 2 1 "$1")+$(voice 277 0.045 1 4.2 "$1")"
  since="mod(t,2)"
  step="floor(mod(t,$1)/2)"
  note="if(eq($step,0),659,if(eq($step,1),554,if(eq($step,2),440,if(eq($step,3),494,554))))"
  bell="0.09*(1-exp(-90*$since))*exp(-2.2*$since)*(sin(2*PI*($note)*t)+0.25*sin(4*PI*($note)*t))"
  echo "aevalsrc='$chord+$bell':sample_rate=48000"
}
