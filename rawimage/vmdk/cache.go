package vmdk

import "sync"

// key names a table or grain of one extent.
type key struct {
	extent *sparse
	index  int64
}

// cache keeps the last few values put, the oldest going first. Values are shared
// and must not be changed.
type cache[V any] struct {
	mu    sync.Mutex // guards what follows
	limit int
	m     map[key]V
	order []key // a ring once it is full
	next  int
}

func newCache[V any](limit int) *cache[V] {
	return &cache[V]{limit: max(limit, 1), m: make(map[key]V)}
}

func (c *cache[V]) get(k key) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, ok := c.m[k]
	return v, ok
}

func (c *cache[V]) put(k key, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.m[k]; ok {
		return // another goroutine was faster
	}
	if len(c.order) < c.limit {
		c.order = append(c.order, k)
	} else {
		delete(c.m, c.order[c.next])
		c.order[c.next] = k
		c.next = (c.next + 1) % c.limit
	}
	c.m[k] = v
}
