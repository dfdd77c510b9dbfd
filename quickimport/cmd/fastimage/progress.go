package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"
)

// plainEvery is how often a phase prints a line where there is no terminal:
// often enough to see that it lives, seldom enough for a log.
const plainEvery = 3 * time.Second

// step is one report of progress: of bytes, or of percent when total is 0.
type step struct {
	phase                      string
	done, total, skipped, sent int64
	written                    int64 // to a file
	percent, retries           int
}

// display shows progress. Its methods may be called from any goroutine.
type display interface {
	show(step)
	// finish ends the display; nothing is drawn after it returns.
	finish()
}

// progress picks the display: bars on a terminal, lines elsewhere, none when
// quiet.
func (a *app) progress() display {
	if a.quiet {
		return nothing{}
	}
	if f, ok := a.stderr.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return &bars{out: f, phases: map[string]*phaseBar{}}
	}
	return &lines{out: a.stderr, now: time.Now}
}

type nothing struct{}

func (nothing) show(step) {}
func (nothing) finish()   {}

// lines prints a line every few seconds of a phase, and one when it ends.
type lines struct {
	out io.Writer
	now func() time.Time

	mu      sync.Mutex // guards what follows and the order of the lines
	last    step
	printed time.Time
	shown   bool // last has been printed
}

func (l *lines) show(s step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.blank() {
		return
	}
	if s.phase != l.last.phase {
		l.flush()
		l.printed = l.now()
	}
	l.last, l.shown = s, false
	if l.now().Sub(l.printed) >= plainEvery {
		l.flush()
		l.printed = l.now()
	}
}

// flush prints the last step unless it has been printed.
func (l *lines) flush() {
	if l.last.phase != "" && !l.shown {
		fmt.Fprintln(l.out, l.last.line())
		l.shown = true
	}
}

func (l *lines) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.flush()
}

func (s step) line() string {
	if s.total <= 0 {
		return fmt.Sprintf("%s: %d%%", s.phase, s.percent)
	}
	return fmt.Sprintf("%s: %d%%, %s of %s%s", s.phase, s.share(), size(s.done), size(s.total), s.extra())
}

// blank tells a step that has nothing to show yet: the start of a phase, or a
// phase without a measure.
func (s step) blank() bool { return s.total <= 0 && s.percent == 0 && s.phase != "job" }

// share is the percentage done, 100 only when all of it is.
func (s step) share() int64 {
	if s.total <= 0 {
		return int64(s.percent)
	}
	return int64(float64(s.done) / float64(s.total) * 100)
}

func (s step) extra() string {
	out := ""
	if s.skipped > 0 {
		out += ", " + size(s.skipped) + " skipped"
	}
	if s.sent > 0 {
		out += ", " + size(s.sent) + " sent"
	}
	if s.retries > 0 {
		out += fmt.Sprintf(", %d retries", s.retries)
	}
	if s.written > 0 {
		out += ", " + size(s.written) + " written"
	}
	return out
}

// bars draws a bar for each phase, one below the other.
type bars struct {
	out *os.File

	mu     sync.Mutex // guards what follows
	p      *mpb.Progress
	phases map[string]*phaseBar
	over   bool
}

// phaseBar is a bar and the step its decorators show.
type phaseBar struct {
	bar *mpb.Bar

	mu   sync.Mutex // guards last: the renderer reads it from its goroutine
	last step
}

func (b *phaseBar) step() step {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

func (b *bars) show(s step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || s.blank() {
		return
	}
	if b.p == nil {
		b.p = mpb.New(mpb.WithOutput(b.out))
	}
	pb := b.phases[s.phase]
	if pb == nil {
		pb = b.add(s)
		b.phases[s.phase] = pb
	}
	pb.mu.Lock()
	pb.last = s
	pb.mu.Unlock()
	if s.total > 0 {
		pb.bar.SetTotal(s.total, false)
		pb.bar.SetCurrent(s.done)
		return
	}
	pb.bar.SetTotal(100, false)
	pb.bar.SetCurrent(int64(s.percent))
}

func (b *bars) add(s step) *phaseBar {
	pb := &phaseBar{last: s}
	detail := func(decor.Statistics) string {
		s := pb.step()
		if s.total <= 0 {
			return ""
		}
		return size(s.done) + " of " + size(s.total) + s.extra()
	}
	tail := []decor.Decorator{decor.Percentage(decor.WC{W: 5})}
	if s.total > 0 {
		tail = append(tail,
			decor.OnCompleteOrOnAbort(decor.AverageETA(decor.ET_STYLE_GO, decor.WC{W: 8}), ""))
	}
	tail = append(tail, decor.Any(detail, decor.WC{C: decor.DindentRight | decor.DextraSpace}))
	pb.bar = b.p.New(0, mpb.BarStyle(), mpb.BarWidth(24), mpb.BarPriority(len(b.phases)),
		mpb.PrependDecorators(decor.Name(s.phase, decor.WC{W: 9, C: decor.DindentRight})),
		mpb.AppendDecorators(tail...))
	return pb
}

func (b *bars) finish() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over {
		return
	}
	b.over = true
	if b.p == nil {
		return
	}
	for _, pb := range b.phases {
		// A bar left short of its total would keep Wait waiting for ever.
		if s := pb.step(); s.share() >= 100 {
			pb.bar.SetTotal(-1, true)
		} else {
			pb.bar.Abort(false)
		}
	}
	b.p.Wait()
}
