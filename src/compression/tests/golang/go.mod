module github.com/actix-nsq/golang-encoders

go 1.17

require github.com/golang/snappy v0.0.4
