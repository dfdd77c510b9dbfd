package cloud

import (
	"context"
	"sync"
	"time"
)

const (
	// expiryMargin is how long before they expire credentials are replaced:
	// longer than any single request takes.
	expiryMargin = 5 * time.Minute
	// askAgain is the pause before a provider that failed is asked again while
	// the credentials it returned earlier are valid: it may be slow to fail.
	askAgain = 5 * time.Second
)

// ProviderError is an error of a Provider.
type ProviderError struct {
	// Temporary: it has returned credentials before, so that another attempt
	// may succeed.
	Temporary bool
	Err       error
}

func (e *ProviderError) Error() string { return e.Err.Error() }

// Unwrap returns the provider's error.
func (e *ProviderError) Unwrap() error { return e.Err }

// secret returns credentials. It is a function because fmt prints the unexported
// fields of a struct, and of what holds it, without calling Credentials.Format.
type secret func() Credentials

// A Cache keeps what its provider returned until five minutes before it expires,
// or until a service refuses it (Refused). While what it keeps is valid, an
// error of the provider is hidden, and the provider is asked again later.
type Cache struct {
	provider Provider
	now      func() time.Time

	mu       sync.Mutex // guards what follows
	kept     secret     // nil: the provider has returned none yet
	stale    bool       // kept was refused
	askAfter time.Time  // the provider failed: not before
	call     *call      // under way
}

// call is one call of the provider, which all who wait for it share.
type call struct {
	done    chan struct{} // closed when creds and err are set
	creds   secret
	err     error
	waiting int
	cancel  context.CancelFunc
}

// NewCache returns a cache of what p returns.
func NewCache(p Provider) *Cache { return &Cache{provider: p, now: time.Now} }

// Credentials returns what is kept, or asks the provider. It returns when the
// context ends, even if the provider does not. An error is a *ProviderError or
// the context's.
func (c *Cache) Credentials(ctx context.Context) (Credentials, error) {
	c.mu.Lock()
	if c.fresh() {
		defer c.mu.Unlock()
		return c.kept(), nil
	}
	w := c.join(ctx)
	c.mu.Unlock()
	select {
	case <-w.done:
	case <-ctx.Done():
		c.leave(w)
		return Credentials{}, context.Cause(ctx)
	}
	if w.err == nil {
		return w.creds(), nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.valid() {
		return c.kept(), nil
	}
	return Credentials{}, &ProviderError{Temporary: c.kept != nil, Err: w.err}
}

// Refused notes that a service refused credentials and asks for others. It
// reports whether there are any; when the provider fails, there are none.
func (c *Cache) Refused(ctx context.Context, refused Credentials) bool {
	c.mu.Lock()
	if c.kept != nil && c.kept() == refused {
		c.stale, c.askAfter = true, time.Time{}
	}
	c.mu.Unlock()
	creds, err := c.Credentials(ctx)
	return err == nil && creds != refused
}

// fresh reports whether kept does without asking; c.mu is held.
func (c *Cache) fresh() bool {
	if c.kept == nil || c.stale {
		return false
	}
	if end := c.kept().Expires; end.IsZero() || end.Sub(c.now()) > expiryMargin {
		return true
	}
	return c.valid() && c.now().Before(c.askAfter)
}

// valid reports whether kept has not expired; c.mu is held. Keys that were
// refused may be valid all the same: a refusal has other causes too.
func (c *Cache) valid() bool {
	if c.kept == nil {
		return false
	}
	end := c.kept().Expires
	return end.IsZero() || end.After(c.now())
}

// join waits with others for the call under way, or begins one; c.mu is held.
func (c *Cache) join(ctx context.Context) *call {
	if c.call == nil {
		// The call serves everyone who waits: it ends when the last has left.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		c.call = &call{done: make(chan struct{}), cancel: cancel}
		go c.ask(ctx, c.call)
	}
	c.call.waiting++
	return c.call
}

func (c *Cache) leave(w *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.waiting--; w.waiting == 0 {
		w.cancel()
		if c.call == w {
			c.call = nil // it may never return
		}
	}
}

func (c *Cache) ask(ctx context.Context, w *call) {
	creds, err := c.provider.Credentials(ctx)
	w.creds, w.err = func() Credentials { return creds }, err
	w.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.call == w {
		c.call = nil
		if w.err == nil {
			c.kept, c.stale, c.askAfter = w.creds, false, time.Time{}
		} else {
			c.stale, c.askAfter = false, c.now().Add(askAgain)
		}
	}
	close(w.done)
}
