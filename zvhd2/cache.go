package zvhd2

import (
	"container/list"
	"sync"
)

// cache keeps decoded blocks, least recently used first out, and sees to it
// that a block wanted by many at once is decoded once.
type cache struct {
	max int // blocks

	mu    sync.Mutex // guards what follows
	items map[int64]*list.Element
	order list.List // of *cached, most recent first
}

type cached struct {
	block int64
	once  sync.Once
	data  []byte
	err   error
}

func newCache(size, blockSize int64) *cache {
	return &cache{max: int(size / blockSize), items: make(map[int64]*list.Element)}
}

// get returns the cache's place for a block; whoever comes first fills it.
func (c *cache) get(block int64) *cached {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[block]; ok {
		c.order.MoveToFront(e)
		return e.Value.(*cached)
	}
	it := &cached{block: block}
	c.items[block] = c.order.PushFront(it)
	if c.order.Len() > c.max {
		c.remove(c.order.Back())
	}
	return it
}

// forget drops a block whose decoding failed, so that an error of the moment
// is not kept.
func (c *cache) forget(it *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[it.block]; ok && e.Value.(*cached) == it {
		c.remove(e)
	}
}

func (c *cache) remove(e *list.Element) {
	c.order.Remove(e)
	delete(c.items, e.Value.(*cached).block)
}
