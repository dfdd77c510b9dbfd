// Package lru is a cache of values that are expensive to make, with a bound on
// the bytes that it keeps.
package lru

import (
	"container/list"
	"sync"
)

// overhead is what an entry costs beyond its value: map and list elements, the
// channel, the headers. Many small values must not exceed the bound either.
const overhead = 256

// Cache keeps the most recently used values within a bound. Loading runs outside
// the lock: different values load at the same time, and one that several callers
// want is loaded once. Values are shared and must not be changed; they may be
// used after they have left the cache.
type Cache[K comparable, V any] struct {
	limit int64

	mu      sync.Mutex // guards the rest
	entries map[K]*list.Element
	order   list.List // of *entry[K, V], most recent first
	used    int64     // bytes, overhead included
}

type entry[K comparable, V any] struct {
	key  K
	cost int64
	done chan struct{} // closed when value and err are set
	val  V
	err  error
}

// New returns a cache of limit bytes. It keeps one value whatever the limit.
func New[K comparable, V any](limit int64) *Cache[K, V] {
	return &Cache[K, V]{limit: limit, entries: make(map[K]*list.Element)}
}

// Get returns the value of key, and calls load for it if it is not in the cache.
// size is what the value takes, in bytes. A failure is not kept: what could not
// be loaded may be loaded the next time.
func (c *Cache[K, V]) Get(key K, size int64, load func() (V, error)) (V, error) {
	c.mu.Lock()
	if el, ok := c.entries[key]; ok {
		c.order.MoveToFront(el)
		c.mu.Unlock()
		e := el.Value.(*entry[K, V])
		<-e.done
		return e.val, e.err
	}
	e := &entry[K, V]{key: key, cost: size + overhead, done: make(chan struct{})}
	el := c.order.PushFront(e)
	c.entries[key] = el
	c.used += e.cost
	for c.used > c.limit && c.order.Len() > 1 {
		c.remove(c.order.Back())
	}
	c.mu.Unlock()

	defer close(e.done)
	if e.val, e.err = load(); e.err == nil {
		return e.val, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// It may have been evicted, and another value of that key be there.
	if c.entries[key] == el {
		c.remove(el)
	}
	return e.val, e.err
}

// remove is called with the lock held.
func (c *Cache[K, V]) remove(el *list.Element) {
	e := el.Value.(*entry[K, V])
	delete(c.entries, e.key)
	c.order.Remove(el)
	c.used -= e.cost
}
