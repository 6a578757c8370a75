package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// consumption has the fields of the report of nsq_bench consume.
type consumption struct {
	Rate             float64 `json:"rate"`
	CPUPerMessage    float64 `json:"cpu_us_per_message"`
	AllocsPerMessage float64 `json:"allocs_per_message"`
	Messages         int64   `json:"messages"`
	Ok               int64   `json:"ok"`
	Failed           int64   `json:"failed"`
	Duration         float64 `json:"duration_s"`
}

// moment is when the measurement began or ended.
type moment struct {
	time    time.Time
	cpu     time.Duration
	mallocs uint64
}

func now() moment {
	return moment{time.Now(), processTime(), mallocs()}
}

// consume is a peer of nsq_bench consume. The configuration is go-nsq's default, except for
// max_in_flight. Handlers finish each message; with -handler-time they sleep before, and then there
// are as many of them as messages in flight. With -publishers goroutines publish the messages through
// a Producer, each one at a time.
func consume(arguments []string) {
	flags := flag.NewFlagSet("consume", flag.ExitOnError)
	topic := flags.String("topic", "", "topic to consume")
	channel := flags.String("channel", "", "channel to consume")
	maxInFlight := flags.Int("max-in-flight", 2500, "maximum number of messages in flight")
	messages := flags.Int64("messages", 1000000, "number of messages to finish")
	handlerTime := flags.Duration("handler-time", 0, "time that a handler sleeps")
	handlers := flags.Int("handlers", 0, "number of handlers (default 1, or -max-in-flight)")
	publishers := flags.Int("publishers", 0, "goroutines that publish the messages")
	size := flags.Int("size", 200, "size of a message of -publishers in bytes")
	asJSON := flags.Bool("json", false, "print a line of JSON after the summary")
	var addresses []string
	flags.Func("nsqd-tcp-address", "address of nsqd; may be repeated", func(text string) error {
		addresses = append(addresses, text)
		return nil
	})
	flags.Parse(arguments)
	switch {
	case *topic == "" || *channel == "" || len(addresses) == 0:
		wrong("-topic, -channel and -nsqd-tcp-address are required")
	case *maxInFlight < 1 || *messages < 2 || *publishers < 0 || *size < 1:
		wrong("a number is too small")
	}
	if *handlers == 0 {
		*handlers = 1
		if *handlerTime > 0 {
			*handlers = *maxInFlight
		}
	}

	config := nsq.NewConfig()
	config.MaxInFlight = *maxInFlight
	consumer, err := nsq.NewConsumer(*topic, *channel, config)
	if err != nil {
		fail(err)
	}
	consumer.SetLoggerLevel(nsq.LogLevelError)
	measured := *messages - *messages/100
	var handled int64
	var first, last moment
	var once sync.Once
	complete := make(chan struct{})
	handle := func(message *nsq.Message) error {
		if *handlerTime > 0 {
			time.Sleep(*handlerTime)
		}
		switch number := atomic.AddInt64(&handled, 1); {
		case number == 1:
			first = now()
		case number == measured:
			last = now()
		case number > *messages:
			return errors.New("more messages than expected")
		}
		if atomic.LoadInt64(&handled) >= *messages {
			once.Do(func() { close(complete) })
		}
		return nil
	}
	consumer.AddConcurrentHandlers(nsq.HandlerFunc(handle), *handlers)
	if err := consumer.ConnectToNSQDs(addresses); err != nil {
		fail(err)
	}
	if *publishers > 0 {
		producer, err := nsq.NewProducer(addresses[0], config)
		if err != nil {
			fail(err)
		}
		producer.SetLoggerLevel(nsq.LogLevelError)
		body := bodyOf(*size)
		var next int64
		for caller := 0; caller < *publishers; caller++ {
			go func() {
				for atomic.AddInt64(&next, 1) <= *messages {
					if err := producer.Publish(*topic, body); err != nil {
						fail(err)
					}
				}
			}()
		}
	}
	<-complete
	consumer.Stop()
	<-consumer.StopChan

	each := float64(measured - 1)
	took := last.time.Sub(first.time)
	r := consumption{
		Rate:             each / took.Seconds(),
		CPUPerMessage:    float64((last.cpu - first.cpu).Nanoseconds()) / 1e3 / each,
		AllocsPerMessage: float64(last.mallocs-first.mallocs) / each,
		Messages:         *messages,
		Ok:               *messages,
		Duration:         took.Seconds(),
	}
	fmt.Printf("duration: %s - %.03fops/s - %.03fus/op\n", took, r.Rate, 1e6/r.Rate)
	if *asJSON {
		line, err := json.Marshal(r)
		if err != nil {
			fail(err)
		}
		fmt.Fprintln(os.Stdout, string(line))
	}
}
