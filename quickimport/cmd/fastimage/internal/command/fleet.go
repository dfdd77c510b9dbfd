package command

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/fastimage/fastimage/quickimport"
)

// fleet shows the progress of several imports: a line for each that is under
// way, and a total.
type fleet interface {
	image(name string) display
	// ended counts an image, and prints a line about it.
	ended(line string, failed bool)
	finish()
}

// fleet makes the display of n images that --progress asks for.
func (a *app) fleet(n int) fleet {
	t := tally{images: n, began: time.Now(), sent: map[string]int64{}}
	switch a.progressKind() {
	case progressNone:
		return nothing{}
	case progressBar:
		return newFleetBars(a.stderr, t)
	}
	return &fleetLines{out: a.stderr, every: a.progressEvery, tally: t, printed: time.Now()}
}

func (nothing) image(string) display { return nothing{} }
func (nothing) ended(string, bool)   {}

// tally is the total of a fleet.
type tally struct {
	images, done, failed int
	began                time.Time
	sent                 map[string]int64 // bytes by image
}

func (t *tally) count(failed bool) {
	t.done++
	if failed {
		t.failed++
	}
}

// note takes the bytes of an image's object that are in the bucket.
func (t *tally) note(name string, s step) {
	if s.phase == string(quickimport.PhaseUpload) {
		t.sent[name] = max(t.sent[name], s.done)
	}
}

func (t *tally) bytes() (n int64) {
	for _, b := range t.sent {
		n += b
	}
	return n
}

func (t *tally) String() string {
	text := fmt.Sprintf("%d of %d images", t.done, t.images)
	if t.failed > 0 {
		text += fmt.Sprintf(", %d failed", t.failed)
	}
	if n := t.bytes(); n > 0 {
		text += ", " + size(n) + " uploaded"
		if r := rate(n, time.Since(t.began).Seconds()); r != "" && time.Since(t.began) > time.Second {
			text += ", " + r
		}
	}
	return text
}

// fleetLines prints lines, each with the name of its image.
type fleetLines struct {
	out   io.Writer
	every time.Duration

	mu      sync.Mutex // guards what follows, and the order of the lines
	tally   tally
	printed time.Time // the total
	over    bool
}

type imageLines struct {
	*lines
	name  string
	fleet *fleetLines
}

func (f *fleetLines) image(name string) display {
	return &imageLines{newLines(prefixed{f, oneLine(name) + ": "}, f.every, time.Now), name, f}
}

// prefixed writes whole lines, each after a prefix.
type prefixed struct {
	f      *fleetLines
	prefix string
}

func (p prefixed) Write(b []byte) (int, error) {
	p.f.mu.Lock()
	defer p.f.mu.Unlock()
	if _, err := fmt.Fprintf(p.f.out, "%s%s", p.prefix, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (l *imageLines) show(s step) {
	l.fleet.note(l.name, s)
	l.lines.show(s)
}

func (f *fleetLines) note(name string, s step) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tally.note(name, s)
	if time.Since(f.printed) >= f.every {
		f.printed = time.Now()
		fmt.Fprintln(f.out, "total: "+f.tally.String())
	}
}

func (f *fleetLines) ended(line string, failed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tally.count(failed)
	fmt.Fprintln(f.out, line)
}

func (f *fleetLines) finish() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over {
		return
	}
	f.over = true
	fmt.Fprintln(f.out, "total: "+f.tally.String())
}

// fleetBars draws a bar for each image that is under way, and one for the total
// below them.
type fleetBars struct {
	out   io.Writer
	p     *mpb.Progress
	total *mpb.Bar

	mu    sync.Mutex // guards what follows
	tally tally
	next  int // priority of the next bar
	over  bool
}

func newFleetBars(out io.Writer, t tally) *fleetBars {
	f := &fleetBars{out: out, p: mpb.New(mpb.WithOutput(out), mpb.WithAutoRefresh()), tally: t}
	f.total = f.p.New(int64(t.images), mpb.BarStyle(), mpb.BarPriority(1<<30), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name("total", decor.WC{W: nameWidth, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string {
			f.mu.Lock()
			defer f.mu.Unlock()
			return " " + f.tally.String()
		})))
	return f
}

// nameWidth is the room for the name of an image beside a bar.
const nameWidth = 16

// shortened cuts a name to the room beside a bar.
func shortened(name string) string {
	r := []rune(oneLine(name))
	if len(r) < nameWidth {
		return string(r)
	}
	return string(r[:nameWidth-2]) + "…"
}

type imageBar struct {
	*phaseBar
	name  string
	fleet *fleetBars
}

func (f *fleetBars) image(name string) display {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next++
	pb := &phaseBar{began: time.Now()}
	pb.bar = f.p.New(100, mpb.BarStyle(), mpb.BarPriority(f.next), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(shortened(name), decor.WC{W: nameWidth, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.Any(func(decor.Statistics) string {
			s, ran := pb.step()
			if s.phase == "" {
				return ""
			}
			return " " + s.phase + s.rate(ran)
		})))
	return &imageBar{pb, name, f}
}

func (b *imageBar) show(s step) {
	if s.blank() {
		return
	}
	b.fleet.mu.Lock()
	b.fleet.tally.note(b.name, s)
	b.fleet.mu.Unlock()
	// One bar shows all phases: the upload is what takes the time.
	if s.phase == "convert" {
		return
	}
	b.set(s)
}

func (b *imageBar) note(line string) {
	_, _ = b.fleet.p.Write([]byte(oneLine(b.name) + ": " + line + "\n")) // no more than a notice
}

func (b *imageBar) finish() { b.bar.Abort(true) }

func (f *fleetBars) ended(line string, failed bool) {
	f.mu.Lock()
	f.tally.count(failed)
	done, over := int64(f.tally.done), f.over
	f.mu.Unlock()
	if over {
		return
	}
	_, _ = f.p.Write([]byte(line + "\n")) // no more than a notice
	f.total.SetCurrent(done)
}

func (f *fleetBars) finish() {
	f.mu.Lock()
	was := f.over
	f.over = true
	f.mu.Unlock()
	if was {
		return
	}
	f.total.Abort(true)
	f.p.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintln(f.out, "total: "+f.tally.String())
}
