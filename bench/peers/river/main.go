// Jobs of River through their life, as fast as River is known to take them: `river WORKLOAD JOBS PAYLOAD`.
//
// The settings are those of River's own benchmark (`river bench`): a fetch every 2 ms at most, a poll every 20 ms, 2,000
// workers. Completions are gathered by its batch completer, so a handler's return is not the end of a job: the clock stops
// when SQL sees all of them completed.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	batch         = 100  // jobs of one InsertManyFast
	batchers      = 16   // producers in `continuous`
	singleCallers = 32   // callers of Insert in `singles`
	storeBatch    = 5000 // what River's own benchmark stores a backlog with
	connections   = 20
)

// Noop is a job that does nothing.
type Noop struct {
	Pad string `json:"pad"`
}

// Kind names it in the database.
func (Noop) Kind() string { return "noop" }

type worker struct {
	river.WorkerDefaults[Noop]
	left *atomic.Int64
	done chan struct{}
}

func (w *worker) Work(context.Context, *river.Job[Noop]) error {
	if w.left.Add(-1) == 0 {
		close(w.done)
	}
	return nil
}

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "river:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if len(os.Args) == 2 && os.Args[1] == "versions" {
		return versions()
	}
	if len(os.Args) != 4 {
		return errors.New("river WORKLOAD JOBS PAYLOAD")
	}
	workload := os.Args[1]
	jobs, err := strconv.Atoi(os.Args[2])
	if err != nil {
		return err
	}
	payload, err := strconv.Atoi(os.Args[3])
	if err != nil {
		return err
	}
	args := Noop{Pad: strings.Repeat("x", max(0, payload-len(`{"pad":""}`)))}

	config, err := pgxpool.ParseConfig(os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return err
	}
	defer pool.Close()
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return err
	}

	work := &worker{left: &atomic.Int64{}, done: make(chan struct{})}
	work.left.Store(int64(jobs))
	workers := river.NewWorkers()
	river.AddWorker(workers, work)
	cooldown := 2 * time.Millisecond
	if workload == "singles" {
		// Where jobs come one by one, a fetch every 2 ms finds a handful: with 20 ms a third more get through.
		cooldown = 20 * time.Millisecond
	}
	client, err := river.NewClient(driver, &river.Config{
		FetchCooldown:     cooldown,
		FetchPollInterval: 20 * time.Millisecond,
		Logger:            slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Queues:            map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: 2000}},
		Workers:           workers,
	})
	if err != nil {
		return err
	}

	var produce func() error
	switch workload {
	case "drain":
		stored := time.Now()
		if err := insertMany(ctx, client, args, jobs, storeBatch, 1); err != nil {
			return err
		}
		say("stored", map[string]any{"seconds": time.Since(stored).Seconds()})
		produce = func() error { return nil }
	case "continuous":
		produce = func() error { return insertMany(ctx, client, args, jobs, batch, batchers) }
	case "singles":
		produce = func() error { return insertOnes(ctx, client, args, jobs) }
	default:
		return fmt.Errorf("no workload is called %q", workload)
	}
	say("ready", nil)

	started := time.Now()
	if err := client.Start(ctx); err != nil {
		return err
	}
	if err := produce(); err != nil {
		return err
	}
	produced := time.Since(started)
	<-work.done
	if err := completed(ctx, pool, jobs); err != nil {
		return err
	}
	say("ended", map[string]any{"seconds": time.Since(started).Seconds(), "produced_after": produced.Seconds()})
	return client.Stop(ctx)
}

// insertMany stores jobs by River's bulk call, which is one COPY, from several callers at once.
func insertMany(ctx context.Context, client *river.Client[pgx.Tx], args Noop, jobs, size, callers int) error {
	return share(jobs, size, callers, func(count int) error {
		params := make([]river.InsertManyParams, count)
		for i := range params {
			params[i].Args = args
		}
		_, err := client.InsertManyFast(ctx, params)
		return err
	})
}

// insertOnes stores jobs one a call.
func insertOnes(ctx context.Context, client *river.Client[pgx.Tx], args Noop, jobs int) error {
	return share(jobs, 1, singleCallers, func(int) error {
		_, err := client.Insert(ctx, args, nil)
		return err
	})
}

// share hands out `jobs` in portions to callers at work side by side.
func share(jobs, size, callers int, insert func(count int) error) error {
	var taken atomic.Int64
	var group sync.WaitGroup
	failures := make(chan error, callers)
	for range callers {
		group.Go(func() {
			for {
				end := int(taken.Add(int64(size)))
				count := min(size, jobs-(end-size))
				if count <= 0 {
					return
				}
				if err := insert(count); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	group.Wait()
	close(failures)
	return <-failures
}

// completed returns once all jobs are committed as completed.
func completed(ctx context.Context, pool *pgxpool.Pool, jobs int) error {
	for {
		var count int
		err := pool.QueryRow(ctx, "select count(*) from river_job where state = 'completed'").Scan(&count)
		if err != nil || count >= jobs {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func versions() error {
	found := map[string]string{"go": strings.TrimPrefix(runtime.Version(), "go")}
	info, _ := debug.ReadBuildInfo()
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/riverqueue/river":
			found["river"] = strings.TrimPrefix(module.Version, "v")
		case "github.com/jackc/pgx/v5":
			found["pgx"] = strings.TrimPrefix(module.Version, "v")
		}
	}
	return json.NewEncoder(os.Stdout).Encode(found)
}

func say(stage string, fields map[string]any) {
	line := map[string]any{"stage": stage}
	for name, value := range fields {
		line[name] = value
	}
	_ = json.NewEncoder(os.Stdout).Encode(line)
}
