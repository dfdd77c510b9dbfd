package qcow2

import (
	"container/list"
	"sync"
)

// cache keeps the most recently used blocks. Loading runs outside the lock:
// different blocks load at the same time, and one that several readers want is
// loaded once. Blocks are never written to after they are loaded, so they may
// be used after they left the cache.
type cache struct {
	limit int // blocks

	mu      sync.Mutex // guards the rest
	entries map[uint64]*list.Element
	lru     list.List // of *block, most recent first
}

type block struct {
	key  uint64
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
}

// newCache makes a cache for bytes/size blocks, at least one.
func newCache(bytes, size int64) *cache {
	return &cache{limit: int(max(bytes/size, 1)), entries: make(map[uint64]*list.Element)}
}

// get returns the block of the key, from load when it is not there. A failure
// is not kept: what could not be read may be readable the next time.
func (c *cache) get(key uint64, load func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e, ok := c.entries[key]; ok {
		c.lru.MoveToFront(e)
		c.mu.Unlock()
		b := e.Value.(*block)
		<-b.done
		return b.data, b.err
	}
	b := &block{key: key, done: make(chan struct{})}
	e := c.lru.PushFront(b)
	c.entries[key] = e
	if c.lru.Len() > c.limit {
		c.remove(c.lru.Back())
	}
	c.mu.Unlock()

	defer close(b.done)
	b.data, b.err = load()
	if b.err != nil {
		c.mu.Lock()
		// It may have been evicted, and another block of that key be there.
		if c.entries[key] == e {
			c.remove(e)
		}
		c.mu.Unlock()
	}
	return b.data, b.err
}

// remove is called with the lock held.
func (c *cache) remove(e *list.Element) {
	delete(c.entries, e.Value.(*block).key)
	c.lru.Remove(e)
}
