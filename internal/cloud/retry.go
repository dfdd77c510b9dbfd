package cloud

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Policy says how long a failing operation is repeated. The zero value uses the
// defaults.
type Policy struct {
	// Budget is how long after its first failure an operation is repeated.
	// 0 means DefaultBudget; NoLimit leaves the end to the context.
	Budget time.Duration
	// Attempts bounds the attempts of an operation. 0 means no limit but Budget.
	Attempts int
	// Min and Max are the first and the longest pause between attempts; each is
	// twice the one before, less up to half at random. 0 means 300 ms and 20 s.
	Min, Max time.Duration
}

const (
	// DefaultBudget is the default of Policy.Budget.
	DefaultBudget = 10 * time.Minute
	// NoLimit as a Policy's Budget repeats until the context ends.
	NoLimit time.Duration = -1

	defaultMin = 300 * time.Millisecond
	defaultMax = 20 * time.Second
)

// Retry describes an attempt that failed and will be made again.
type Retry struct {
	Op      string        // operation, e.g. "UploadPart"
	Part    int32         // part number, 0 where there is none
	Attempt int           // the attempt that failed, from 1
	Wait    time.Duration // pause before the next one
	Left    time.Duration // of the budget, after that pause; NoLimit if there is none
	Reason  error         // without secrets
}

type observerKey struct{}

// Observe returns a context in which f is called with every retry, in the
// goroutine that retries: from several at once if operations run in parallel. An
// observer that the context had already is called first.
func Observe(ctx context.Context, f func(Retry)) context.Context {
	if outer, ok := ctx.Value(observerKey{}).(func(Retry)); ok {
		inner := f
		f = func(r Retry) { outer(r); inner(r) }
	}
	return context.WithValue(ctx, observerKey{}, f)
}

// A Verdict says what becomes of an operation after a failed attempt.
type Verdict struct {
	Again bool          // another attempt may succeed
	Now   bool          // at once, whatever the budget: the cause is known and gone
	After time.Duration // not before; what the service asked for (RetryAfter)
	// Within is a budget shorter than the policy's, counted like it; 0: none.
	Within time.Duration
	Cause  error // for the observer; nil: the attempt's error
}

// Operation is what Policy.Do repeats.
type Operation struct {
	Op   string // for the observer
	Part int32  // for the observer, 0 where there is none
	// Try makes attempt n, counted from 1.
	Try func(ctx context.Context, n int) error
	// Judge looks at the error of attempt n.
	Judge func(err error, n int) Verdict
}

// Do makes attempts until one succeeds, fails for good, or the budget is used
// up; attempts is how many there were. It returns the last attempt's error, or
// the cancellation cause as soon as the context ends. A pause that the service
// asks for and the budget does not allow ends the operation at once.
func (p Policy) Do(ctx context.Context, op Operation) (attempts int, err error) {
	p = p.withDefaults()
	var failed time.Time // the first time
	for n := 1; ; n++ {
		err := op.Try(ctx, n)
		if err == nil {
			return n, nil
		}
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		v := op.Judge(err, n)
		if !v.Again || p.Attempts > 0 && n >= p.Attempts {
			return n, err
		}
		if failed.IsZero() {
			failed = time.Now()
		}
		wait := max(p.pause(n), v.After)
		if v.Now {
			wait = 0
		}
		left, budget := NoLimit, p.Budget
		if v.Within > 0 && (budget == NoLimit || v.Within < budget) {
			budget = v.Within
		}
		if budget != NoLimit {
			if left = budget - time.Since(failed) - wait; left < 0 && !v.Now {
				return n, err
			}
		}
		if v.Cause == nil {
			v.Cause = err
		}
		if f, ok := ctx.Value(observerKey{}).(func(Retry)); ok {
			f(Retry{Op: op.Op, Part: op.Part, Attempt: n, Wait: wait, Left: left, Reason: v.Cause})
		}
		if err := Sleep(ctx, wait); err != nil {
			return n, err
		}
	}
}

// firstContact is the default budget while nothing listens at an endpoint.
const firstContact = 30 * time.Second

// FirstContact returns a Verdict's Within for an error: short if the connection
// was refused, no answer has ever come (clock), and the budget is the default. A
// wrong address is more likely then than an outage.
func (p Policy) FirstContact(err error, clock *Clock) time.Duration {
	if p.Budget == 0 && errors.Is(err, syscall.ECONNREFUSED) && !clock.heard.Load() {
		return firstContact
	}
	return 0
}

func (p Policy) withDefaults() Policy {
	if p.Budget == 0 {
		p.Budget = DefaultBudget
	}
	if p.Min <= 0 {
		p.Min = defaultMin
	}
	if p.Max <= 0 {
		p.Max = max(defaultMax, p.Min)
	}
	return p
}

// pause returns the pause after attempt n: exponential, with jitter above a
// floor of half, so that a hundred clients do not come back at once.
func (p Policy) pause(n int) time.Duration {
	d := p.Min << min(n-1, 20)
	if d > p.Max || d <= 0 {
		d = p.Max
	}
	return d/2 + rand.N(d/2+1)
}

// Sleep waits, or returns the cause of a context that ends first.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RetryAfter returns how long an answer asks to wait; 0 if it does not ask, or
// not in a way that makes sense. A date is compared with the answer's own Date,
// so that the clock of this machine does not matter.
func RetryAfter(h http.Header) time.Duration {
	v := strings.TrimSpace(h.Get("Retry-After"))
	if v == "" {
		return 0
	}
	if n, err := strconv.ParseInt(v, 10, 32); err == nil {
		return max(0, time.Duration(n)*time.Second)
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(0, at.Sub(now))
}
