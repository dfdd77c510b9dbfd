package command

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"github.com/fastimage/fastimage/quickimport"
)

// plainEvery is how often a phase prints a line where there is no terminal:
// often enough to see that it lives, seldom enough for a log.
const plainEvery = 3 * time.Second

// Values of --progress.
const (
	progressAuto  = "auto"
	progressBar   = "bar"
	progressPlain = "plain"
	progressNone  = "none"
)

// step is one report of progress: of bytes, of percent when total is 0, or of
// bytes whose number nobody knows when it is below 0.
type step struct {
	phase            string
	done, total      int64
	skipped, sent    int64
	written          int64 // to a file
	percent, retries int
}

// display shows progress. Its methods may be called from any goroutine.
type display interface {
	show(step)
	// note prints a line, above what is drawn.
	note(line string)
	// finish ends the display; nothing is drawn after it returns.
	finish()
}

// progress makes the display that --progress asks for: by default bars on a
// terminal and lines elsewhere.
func (a *app) progress() display {
	switch a.progressKind() {
	case progressNone:
		return nothing{}
	case progressBar:
		return &bars{out: a.stderr, phases: map[string]*phaseBar{}}
	}
	return newLines(a.stderr, a.progressEvery, time.Now)
}

// watch passes the events of an import on to a display, which is opened by the
// first.
type watch struct {
	open    func() display
	connect string      // what the import connects to, shown on a terminal
	seen    atomic.Bool // a phase was started: an import that finished earlier has none

	mu   sync.Mutex // guards show
	show display
}

func (w *watch) option() quickimport.ImportOption { return quickimport.WithEvents(w.on) }

func (w *watch) on(event quickimport.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.show == nil {
		w.show = w.open()
	}
	switch e := event.(type) {
	case quickimport.PhaseStarted:
		w.seen.Store(true)
		if _, drawn := w.show.(*bars); drawn && e.Phase == quickimport.PhasePreflight && w.connect != "" {
			w.show.note(w.connect)
		}
	case quickimport.Progress:
		w.progress(e)
	case quickimport.Retrying:
		w.show.note(retryLine(e.Request, int32(e.Part), e.Attempt, e.Wait, e.Reason))
	case quickimport.Warned:
		w.show.note("warning " + oneLine(e.Text))
	case quickimport.Resumed:
		w.show.note("resumed " + resumedAt(e))
	}
}

// progress shows how far a phase has come. Encoding and sending run side by side;
// how large the object becomes is estimated from what has been encoded.
func (w *watch) progress(e quickimport.Progress) {
	if e.Phase != quickimport.PhaseUpload || e.Object == 0 {
		w.show.show(step{phase: string(e.Phase), done: e.Done, total: e.Total, skipped: e.Skipped, sent: e.Sent, retries: e.Retries, percent: e.Percent})
		return
	}
	w.show.show(step{phase: "convert", done: e.Done, total: e.Total, skipped: e.Skipped})
	w.show.show(objectStep(e))
}

// resumedAt says what an earlier run has done of an import.
func resumedAt(e quickimport.Resumed) string {
	text := "after an earlier run, which reached: " + e.Stage
	if e.Bytes > 0 {
		text += " (" + size(e.Bytes) + " in the bucket)"
	}
	return text
}

// retryLine is an attempt that failed and is repeated.
func retryLine(request string, part int32, attempt int, wait time.Duration, reason error) string {
	what := request
	if part > 0 {
		what = fmt.Sprintf("part %d", part)
	}
	return fmt.Sprintf("retry: %s, attempt %d failed, next in %s: %s", what, attempt, wait.Round(10*time.Millisecond), message(reason))
}

func (w *watch) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.show == nil {
		w.show = nothing{} // what comes late is not shown
	}
	w.show.finish()
}

// objectStep is how much of the object is in the bucket, whoever sent it.
func objectStep(e quickimport.Progress) step {
	there := e.Sent + e.Resumed
	size := max(e.Object, there)
	if e.Done < e.Total && e.Done > 0 {
		size = max(size, int64(float64(size)/float64(e.Done)*float64(e.Total)))
	}
	return step{phase: string(e.Phase), done: there, total: size, retries: e.Retries}
}

// progressKind is how progress is shown: auto is one of the others here.
func (a *app) progressKind() string {
	switch {
	case a.quiet:
		return progressNone
	case a.progressMode != progressAuto:
		return a.progressMode
	// A dumb terminal cannot go back to a line, which a bar does.
	case isTerminal(a.stderr) && a.getenv("TERM") != "dumb":
		return progressBar
	}
	return progressPlain
}

type nothing struct{}

func (nothing) show(step)   {}
func (nothing) note(string) {}
func (nothing) finish()     {}

// lines prints a line of each phase every few seconds, and one when it ends.
type lines struct {
	out   io.Writer
	every time.Duration
	now   func() time.Time

	mu     sync.Mutex // guards what follows and the order of the lines
	phases map[string]*phaseLine
	order  []*phaseLine
}

func newLines(out io.Writer, every time.Duration, now func() time.Time) *lines {
	return &lines{out: out, every: every, now: now, phases: map[string]*phaseLine{}}
}

type phaseLine struct {
	last           step
	began, printed time.Time
	shown          bool // last has been printed
}

func (l *lines) show(s step) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.blank() {
		return
	}
	p := l.phases[s.phase]
	if p == nil {
		p = &phaseLine{began: l.now(), printed: l.now()}
		l.phases[s.phase] = p
		l.order = append(l.order, p)
	}
	p.shown = p.shown && p.last == s
	p.last = s
	if l.now().Sub(p.printed) >= l.every {
		l.print(p)
	}
}

func (l *lines) note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.out, line)
}

// print prints the phase's last step unless it has been printed.
func (l *lines) print(p *phaseLine) {
	if p.shown {
		return
	}
	p.shown, p.printed = true, l.now()
	fmt.Fprintln(l.out, p.last.line(l.now().Sub(p.began)))
}

func (l *lines) finish() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.order {
		l.print(p)
	}
}

// line is a step as text, after the phase has run for a time.
func (s step) line(ran time.Duration) string {
	if s.total < 0 {
		return fmt.Sprintf("%s: %s%s", s.phase, size(s.done), s.rate(ran)) + s.extra()
	}
	if s.total == 0 {
		return fmt.Sprintf("%s: %d%%", s.phase, s.percent)
	}
	text := fmt.Sprintf("%s: %d%%, %s of %s%s", s.phase, s.share(), size(s.done), size(s.total), s.rate(ran))
	if left := s.left(ran); left > 0 {
		text += ", " + left.String() + " left"
	}
	return text + s.extra()
}

// blank reports a step that has nothing to show yet: the start of a phase, or a
// phase without a measure.
func (s step) blank() bool { return s.total == 0 && s.percent == 0 && s.phase != "job" }

// share is the percentage done, 100 only when all of it is.
func (s step) share() int64 {
	if s.total <= 0 {
		return int64(s.percent)
	}
	return int64(float64(s.done) / float64(s.total) * 100)
}

// rate is the bytes per second of a phase that has run for a while.
func (s step) rate(ran time.Duration) string {
	if ran < time.Second {
		return ""
	}
	return ", " + size(int64(float64(s.done)/ran.Seconds())) + "/s"
}

// left is how long the phase takes at the speed so far, 0 if unknown.
func (s step) left(ran time.Duration) time.Duration {
	if ran < time.Second || s.done <= 0 || s.done >= s.total {
		return 0
	}
	return time.Duration(float64(ran) * float64(s.total-s.done) / float64(s.done)).Round(time.Second)
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
	out io.Writer

	mu     sync.Mutex // guards what follows
	p      *mpb.Progress
	phases map[string]*phaseBar
	over   bool
}

// phaseBar is a bar and the step its decorators show.
type phaseBar struct {
	bar   *mpb.Bar
	began time.Time

	mu   sync.Mutex // guards what follows: the renderer reads it from its goroutine
	last step
	took time.Duration // 0 until all is done
}

func (b *phaseBar) step() (s step, ran time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.took > 0 {
		return b.last, b.took
	}
	return b.last, time.Since(b.began)
}

func (b *phaseBar) set(s step) {
	b.mu.Lock()
	b.last = s
	if s.total > 0 && s.done >= s.total && b.took == 0 {
		b.took = time.Since(b.began)
	}
	b.mu.Unlock()
	if s.total <= 0 {
		s.done, s.total = int64(s.percent), 100
	}
	b.bar.SetTotal(s.total, false)
	b.bar.SetCurrent(s.done)
}

// detail is the text after a bar: it has to fit beside a short one in 80
// columns.
func (b *phaseBar) detail(decor.Statistics) string {
	s, ran := b.step()
	if s.total <= 0 {
		return ""
	}
	text := " " + size(s.done) + "/" + size(s.total) + s.rate(ran)
	if left := s.left(ran); left > 0 {
		return text + ", " + left.String() + " left" + s.extra()
	}
	return text + s.extra()
}

func (b *bars) show(s step) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || s.blank() {
		return
	}
	b.start()
	pb := b.phases[s.phase]
	if pb == nil {
		pb = b.add(s)
		b.phases[s.phase] = pb
	}
	pb.set(s)
}

// start begins to draw; b.mu is held.
func (b *bars) start() {
	if b.p == nil {
		b.p = mpb.New(mpb.WithOutput(b.out), mpb.WithAutoRefresh())
	}
}

func (b *bars) note(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.over || b.p == nil {
		fmt.Fprintln(b.out, line)
		return
	}
	_, _ = b.p.Write([]byte(line + "\n")) // no more than a notice
}

func (b *bars) add(s step) *phaseBar {
	pb := &phaseBar{last: s, began: time.Now()}
	pb.bar = b.p.New(0, mpb.BarStyle(), mpb.BarPriority(len(b.phases)),
		mpb.PrependDecorators(decor.Name(s.phase, decor.WC{W: 9, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Percentage(decor.WC{W: 5}), decor.Any(pb.detail)))
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
		if s, _ := pb.step(); s.share() >= 100 {
			pb.bar.SetTotal(-1, true)
		} else {
			pb.bar.Abort(true) // half a bar would stay on the screen
		}
	}
	b.p.Wait()
}
