package cloud

import (
	"net/http"
	"sync/atomic"
	"time"
)

// Clock is a service's time, as the Date of its answers tells it. The zero value
// is this machine's time until the first answer.
type Clock struct {
	heard atomic.Bool  // there was an answer
	ahead atomic.Int64 // of this machine's clock, in nanoseconds
}

// Note takes the time from an answer's header.
func (c *Clock) Note(h http.Header) {
	c.heard.Store(true)
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	// A Date has whole seconds, so half a second is the best guess; less than
	// two seconds are the way of the answer and not a difference.
	ahead := time.Until(date.Add(time.Second / 2))
	if ahead.Abs() < 2*time.Second {
		ahead = 0
	}
	c.ahead.Store(int64(ahead))
}

// Now returns the service's time, exact to about two seconds.
func (c *Clock) Now() time.Time { return time.Now().Add(c.Ahead()) }

// Ahead returns by how much the service's clock is ahead of this machine's.
func (c *Clock) Ahead() time.Duration { return time.Duration(c.ahead.Load()) }
