package jobqueue

import pb "jobqueue.dev/go/jobqueue/v1"

// capacityBook is how many jobs the worker takes: its slots, less those that handlers of an earlier session still take
// up. The server counts the leases of its session itself; of a session that is over it knows nothing, while a handler of
// it may run on for long.
type capacityBook struct {
	slots   int
	byKind  map[string]int
	orphans map[*lease]struct{}
	paused  bool
}

func newCapacityBook(slots int, handlers map[string]kindHandler) *capacityBook {
	book := &capacityBook{slots: slots, byKind: map[string]int{}, orphans: map[*lease]struct{}{}}
	for kind, handler := range handlers {
		if handler.slots > 0 {
			book.byKind[kind] = handler.slots
		}
	}
	return book
}

// ended takes a handler out. Whether it was an orphan, so that there is more capacity now.
func (c *capacityBook) ended(l *lease) bool {
	_, ok := c.orphans[l]
	delete(c.orphans, l)
	return ok
}

// available is how many jobs of this session may run at once.
func (c *capacityBook) available() int {
	if c.paused {
		return 0
	}
	return max(0, c.slots-len(c.orphans))
}

// message is absolute, so that nothing can leak.
func (c *capacityBook) message() *pb.Capacity {
	taken := map[string]int{}
	for each := range c.orphans {
		taken[each.job.Kind]++
	}
	capacity := &pb.Capacity{SlotsByKind: make(map[string]int32, len(c.byKind))}
	capacity.Slots = whole(c.available())
	for kind, slots := range c.byKind {
		capacity.SlotsByKind[kind] = whole(max(0, slots-taken[kind]))
	}
	return capacity
}
