// A peer of nsq_bench: the same work with go-nsq, the official client. With the argument consume it
// is a peer of nsq_bench consume.
//
// Each of -concurrency goroutines calls Producer.Publish again as soon as its last call has
// returned. All share one Producer, that is, one connection. Publish and PublishAsync use the same
// router, which writes and flushes each command separately, so PublishAsync is no faster. The
// configuration is go-nsq's default, except for -producer-opt. All messages share their bodies, one
// of -size bytes or the lines of a file; go-nsq copies them only when it writes.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/nsqio/go-nsq"
)

var (
	address     = flag.String("nsqd-tcp-address", "127.0.0.1:4150", "address of nsqd")
	topic       = flag.String("topic", "", "topic to publish to")
	size        = flag.Int("size", 200, "size of a message in bytes")
	concurrency = flag.Int("concurrency", 64, "callers, each with one message at a time")
	messages    = flag.Int("messages", 1000000, "number of measured messages")
	warmup      = flag.Int("warmup", -1, "messages before the measurement (default -messages / 10)")
	topics      = flag.Int("topics", 1, "number of topics")
	mpub        = flag.Int("mpub", 0, "messages per command, by MultiPublish")
	deferTime   = flag.Duration("defer", 0, "delay of each message, by DeferredPublish")
	bodiesFile  = flag.String("bodies", "", "file whose lines are the bodies, instead of -size")
	asJSON      = flag.Bool("json", false, "print a line of JSON after the summary")
	config      = nsq.NewConfig()
)

func init() {
	flag.Func("producer-opt", "option, name=value; may be repeated", func(text string) error {
		pair := strings.SplitN(text, "=", 2)
		if len(pair) != 2 || pair[0] == "" {
			return errors.New("must be name=value")
		}
		return config.Set(pair[0], pair[1])
	})
}

// report has the fields of the report of nsq_bench.
type report struct {
	Rate             float64 `json:"rate"`
	CPUPerMessage    float64 `json:"cpu_us_per_message"`
	P50              float64 `json:"p50_us"`
	P99              float64 `json:"p99_us"`
	P999             float64 `json:"p999_us"`
	Max              float64 `json:"max_us"`
	AllocsPerMessage float64 `json:"allocs_per_message"`
	Messages         int     `json:"messages"`
	Warmup           int     `json:"warmup"`
	Concurrency      int     `json:"concurrency"`
	Size             int     `json:"size"`
	Topics           int     `json:"topics"`
	Mpub             *int    `json:"mpub"`
	Ok               int     `json:"ok"`
	Failed           int     `json:"failed"`
	Duration         float64 `json:"duration_s"`
	took             time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "consume" {
		consume(os.Args[2:])
		return
	}
	flag.Parse()
	if *warmup < 0 {
		*warmup = *messages / 10
	}
	switch {
	case flag.NArg() > 0:
		wrong("unknown argument %q", flag.Arg(0))
	case *topic == "":
		wrong("-topic is missing")
	case *size < 1 || *concurrency < 1 || *messages < 1 || *topics < 1 || *mpub < 0:
		wrong("a number is too small")
	case *topics > *concurrency:
		wrong("-topics exceeds -concurrency")
	case *mpub > 0 && *deferTime > 0:
		wrong("-mpub cannot be used with -defer")
	}

	bodies, err := readBodies()
	if err != nil {
		wrong("-bodies: %v", err)
	}
	producer, err := nsq.NewProducer(*address, config)
	if err != nil {
		fail(err)
	}
	producer.SetLoggerLevel(nsq.LogLevelError)
	if err := producer.Ping(); err != nil {
		fail(err)
	}
	warm := publish(producer, bodies, *warmup)
	if warm.Failed > 0 {
		os.Exit(1)
	}
	measured := publish(producer, bodies, *messages)
	producer.Stop()
	print(measured)
	if measured.Ok < *messages {
		os.Exit(1)
	}
}

// readBodies returns the bodies, which messages use in turn: the lines of a file, or one of -size
// bytes. With a file, -size becomes the mean size.
func readBodies() ([][]byte, error) {
	if *bodiesFile == "" {
		return [][]byte{bodyOf(*size)}, nil
	}
	text, err := os.ReadFile(*bodiesFile)
	if err != nil {
		return nil, err
	}
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	total := 0
	for _, line := range lines {
		if len(line) == 0 {
			return nil, errors.New("a line is empty: nsqd rejects empty messages")
		}
		total += len(line)
	}
	*size = total / len(lines)
	return lines, nil
}

// bodyOf returns a body of this size with varying values.
func bodyOf(size int) []byte {
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i % 251)
	}
	return body
}

// publish publishes count messages from all callers, and returns the measurement.
func publish(producer *nsq.Producer, bodies [][]byte, count int) report {
	batch := 1
	if *mpub > 0 {
		batch = *mpub
	}
	commands := (count + batch - 1) / batch
	times := make([]time.Duration, commands)
	var next, published, failed int64
	var once sync.Once
	var group sync.WaitGroup
	begin := make(chan struct{})
	for caller := 0; caller < *concurrency; caller++ {
		name := topicName(caller % *topics)
		group.Add(1)
		go func() {
			defer group.Done()
			held := make([][]byte, 0, batch)
			ok := 0
			defer func() { atomic.AddInt64(&published, int64(ok)) }()
			<-begin
			now := time.Now()
			for {
				command := int(atomic.AddInt64(&next, 1)) - 1
				if command >= commands {
					return
				}
				held = held[:0]
				for message := command * batch; len(held) < batch && message < count; message++ {
					held = append(held, bodies[message%len(bodies)])
				}
				var err error
				switch {
				case *mpub > 0:
					err = producer.MultiPublish(name, held)
				case *deferTime > 0:
					err = producer.DeferredPublish(name, *deferTime, held[0])
				default:
					err = producer.Publish(name, held[0])
				}
				answered := time.Now()
				times[command] = answered.Sub(now)
				now = answered
				if err == nil {
					ok += len(held)
				} else {
					once.Do(func() { fmt.Fprintf(os.Stderr, "go-nsq: first failure: %v\n", err) })
					// With as many failures as callers, the run stops.
					if atomic.AddInt64(&failed, int64(len(held))) >= int64(*concurrency) {
						atomic.StoreInt64(&next, int64(commands))
					}
				}
			}
		}()
	}

	allocations, spent := mallocs(), processTime()
	began := time.Now()
	close(begin)
	group.Wait()
	took := time.Since(began)
	spent, allocations = processTime()-spent, mallocs()-allocations

	sort.Slice(times, func(a, b int) bool { return times[a] < times[b] })
	each := float64(count)
	if count == 0 {
		return report{}
	}
	r := report{
		Rate:             float64(published) / took.Seconds(),
		CPUPerMessage:    float64(spent.Nanoseconds()) / 1e3 / each,
		P50:              quantile(times, 0.5),
		P99:              quantile(times, 0.99),
		P999:             quantile(times, 0.999),
		Max:              quantile(times, 1),
		AllocsPerMessage: float64(allocations) / each,
		Messages:         count,
		Warmup:           *warmup,
		Concurrency:      *concurrency,
		Size:             *size,
		Topics:           *topics,
		Ok:               int(published),
		Failed:           int(failed),
		Duration:         took.Seconds(),
		took:             took,
	}
	if *mpub > 0 {
		r.Mpub = mpub
	}
	return r
}

// topicName numbers topics as nsq_bench does, before the suffix #ephemeral.
func topicName(number int) string {
	if *topics == 1 {
		return *topic
	}
	stem := strings.TrimSuffix(*topic, "#ephemeral")
	return fmt.Sprintf("%s_%d%s", stem, number, (*topic)[len(stem):])
}

func mallocs() uint64 {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.Mallocs
}

// processTime returns the CPU time of this process, in user and system mode.
func processTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// quantile returns a quantile of the sorted times in microseconds.
func quantile(times []time.Duration, share float64) float64 {
	index := int(share * float64(len(times)))
	if index >= len(times) {
		index = len(times) - 1
	}
	return float64(times[index].Nanoseconds()) / 1e3
}

func print(r report) {
	fmt.Printf("duration: %s - %.03fmb/s - %.03fops/s - %.03fus/op\n",
		r.took, r.Rate*float64(*size)/1024/1024, r.Rate, 1e6/r.Rate)
	if *asJSON {
		line, err := json.Marshal(r)
		if err != nil {
			fail(err)
		}
		fmt.Println(string(line))
	}
}

func fail(err error) {
	fmt.Fprintf(os.Stderr, "go-nsq: %v\n", err)
	os.Exit(1)
}

func wrong(format string, args ...interface{}) {
	fmt.Fprintf(os.Stderr, "go-nsq: "+format+"\n", args...)
	os.Exit(2)
}
