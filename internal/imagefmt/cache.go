package imagefmt

import (
	"container/list"
	"sync"
)

// Cache keeps the most recently used values within a bound. Loading runs outside
// the lock: different values load at the same time, and one that several readers
// want is loaded once. Values are shared and must not be changed; they may be
// used after they left the cache.
type Cache[K comparable, V any] struct {
	limit int64

	mu      sync.Mutex // guards the rest
	entries map[K]*list.Element
	lru     list.List // of *cached[K, V], most recent first
	used    int64     // bytes
}

type cached[K comparable, V any] struct {
	key  K
	size int64
	done chan struct{} // closed when value and err are set
	val  V
	err  error
}

// NewCache makes a cache of limit bytes. It keeps one value whatever the limit.
func NewCache[K comparable, V any](limit int64) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, entries: make(map[K]*list.Element)}
}

// Get returns the value of the key, from load when it is not there. size is what
// it will count for, in bytes. A failure is not kept: what could not be read may
// be readable the next time.
func (c *Cache[K, V]) Get(key K, size int64, load func() (V, error)) (V, error) {
	c.mu.Lock()
	if e, ok := c.entries[key]; ok {
		c.lru.MoveToFront(e)
		c.mu.Unlock()
		b := e.Value.(*cached[K, V])
		<-b.done
		return b.val, b.err
	}
	b := &cached[K, V]{key: key, size: size, done: make(chan struct{})}
	e := c.lru.PushFront(b)
	c.entries[key] = e
	c.used += size
	for c.used > c.limit && c.lru.Len() > 1 {
		c.remove(c.lru.Back())
	}
	c.mu.Unlock()

	defer close(b.done)
	if b.val, b.err = load(); b.err == nil {
		return b.val, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// It may have been evicted, and another value of that key be there.
	if c.entries[key] == e {
		c.remove(e)
	}
	return b.val, b.err
}

// remove is called with the lock held.
func (c *Cache[K, V]) remove(e *list.Element) {
	b := e.Value.(*cached[K, V])
	delete(c.entries, b.key)
	c.lru.Remove(e)
	c.used -= b.size
}
