import circle_a


def name():
    return circle_a.__name__
