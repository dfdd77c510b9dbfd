package quickimport

import (
	"context"
	"fmt"
	"sync"
)

// An Item is one image of [Client.ImportAll].
type Item struct {
	Source  Source
	Image   Image
	Options []ImportOption
}

// An Outcome is how an item of [Client.ImportAll] ended.
type Outcome struct {
	Result *Result // of [Client.Import]; nil if it has none
	Err    error
}

// defaultParallel is how many images are imported at once: an upload of one
// overlaps with the job of another, and more compete for the same network.
const defaultParallel = 4

// ImportAll imports several images, at most parallel at once (0: 4), in the order
// of items. The limits of the client hold for all of them together. One that fails
// does not stop the others; ctx stops all. Every item has an outcome, at its own
// index. done is called with each outcome as it is known, never by two goroutines
// at once; nil is none.
//
// Two items with the same name, or with the same object, are an error before
// anything is sent; what else can be wrong is found by each import by itself.
func (c *Client) ImportAll(ctx context.Context, items []Item, parallel int, done func(i int, o Outcome)) ([]Outcome, error) {
	if parallel < 0 {
		return nil, pkg.Errorf("parallel %d: want at least 0", parallel)
	}
	if err := distinct(items); err != nil {
		return nil, err
	}
	if parallel == 0 {
		parallel = defaultParallel
	}
	outcomes := make([]Outcome, len(items))
	var mu sync.Mutex // guards outcomes, and keeps the calls of done apart
	var wg sync.WaitGroup
	next := make(chan int)
	for range min(parallel, len(items)) {
		wg.Go(func() {
			for i := range next {
				var o Outcome
				if ctx.Err() != nil {
					o.Err = pkg.Errorf("not started: %w", context.Cause(ctx))
				} else {
					o.Result, o.Err = c.Import(ctx, items[i].Source, items[i].Image, items[i].Options...)
				}
				mu.Lock()
				outcomes[i] = o
				if done != nil {
					done(i, o)
				}
				mu.Unlock()
			}
		})
	}
	for i := range items {
		next <- i
	}
	close(next)
	wg.Wait()
	return outcomes, nil
}

// distinct finds items that would get in each other's way.
func distinct(items []Item) error {
	var v validation
	names, objects := map[string]int{}, map[string]int{}
	for i, it := range items {
		if at, taken := names[it.Image.Name]; taken {
			v.check(false, "name", it.Image.Name, "IMG.0009", ReasonConflict, fmt.Sprintf("is that of images %d and %d", at+1, i+1))
			continue
		}
		names[it.Image.Name] = i
		if it.Image.Key == "" {
			continue // it follows from the name
		}
		object := it.Image.Bucket + "/" + it.Image.Key
		if at, taken := objects[object]; taken {
			v.check(false, "key", it.Image.Key, "", ReasonConflict, fmt.Sprintf("is that of images %d and %d", at+1, i+1))
		}
		objects[object] = i
	}
	return v.err()
}
