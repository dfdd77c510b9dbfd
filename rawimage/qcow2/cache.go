package qcow2

import (
	"container/list"
	"sync"
)

// cache keeps the most recently used blocks. Loading runs outside the lock:
// different blocks load at the same time, and one that several readers want is
// loaded once. Blocks are never written to after they are loaded, so they may
// be used after they left the cache. All images of a chain of backing files
// share one, so that its bound is that of the chain.
type cache struct {
	limit int64 // bytes

	mu      sync.Mutex // guards the rest
	entries map[blockKey]*list.Element
	lru     list.List // of *block, most recent first
	used    int64     // bytes
}

type blockKey struct {
	owner *Reader
	key   uint64
}

type block struct {
	blockKey
	size int64
	done chan struct{} // closed when data and err are set
	data []byte
	err  error
}

func newCache(limit int64) *cache {
	return &cache{limit: limit, entries: make(map[blockKey]*list.Element)}
}

// get returns the block of the key, from load when it is not there, which is
// given size bytes to fill. A failure is not kept: what could not be read may
// be readable the next time. One block is kept whatever the limit.
func (c *cache) get(owner *Reader, key uint64, size int64, load func(p []byte) error) ([]byte, error) {
	k := blockKey{owner, key}
	c.mu.Lock()
	if e, ok := c.entries[k]; ok {
		c.lru.MoveToFront(e)
		c.mu.Unlock()
		b := e.Value.(*block)
		<-b.done
		return b.data, b.err
	}
	b := &block{blockKey: k, size: size, done: make(chan struct{})}
	e := c.lru.PushFront(b)
	c.entries[k] = e
	c.used += size
	for c.used > c.limit && c.lru.Len() > 1 {
		c.remove(c.lru.Back())
	}
	c.mu.Unlock()

	defer close(b.done)
	data := make([]byte, size)
	if b.err = load(data); b.err == nil {
		b.data = data
		return b.data, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// It may have been evicted, and another block of that key be there.
	if c.entries[k] == e {
		c.remove(e)
	}
	return nil, b.err
}

// remove is called with the lock held.
func (c *cache) remove(e *list.Element) {
	b := e.Value.(*block)
	delete(c.entries, b.blockKey)
	c.lru.Remove(e)
	c.used -= b.size
}
